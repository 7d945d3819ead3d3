// Leaks one connection a way: `ledger WAY PORT`. The comment "opened here" names the function that has to be named.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"example.com/pool"
)

var kept []any

func keep(thing any, err error) {
	if err != nil {
		panic(err)
	}
	kept = append(kept, thing)
}

//go:noinline
func openLedger(address string) {
	connection, err := net.Dial("tcp", address) // opened here: main.openLedger
	keep(connection, err)
}

func openInTime(address string) {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second) // opened here: main.openInTime
	keep(connection, err)
}

func openWithContext(address string) {
	var dialer net.Dialer
	connection, err := dialer.DialContext(context.Background(), "tcp", address) // opened here: main.openWithContext
	keep(connection, err)
}

type till struct{ address string }

func (till *till) open() {
	connection, err := net.Dial("tcp", till.address) // opened here: main.(*till).open
	keep(connection, err)
}

func openAny[T fmt.Stringer](address T) {
	connection, err := net.Dial("tcp", address.String()) // opened here: main.openAny
	keep(connection, err)
}

type text string

func (text text) String() string { return string(text) }

func openAtTheEnd(address string) {
	defer func() {
		recover()
		connection, err := net.Dial("tcp", address) // opened here: main.openAtTheEnd
		keep(connection, err)
	}()
	panic("the ledger is down")
}

func serve(address string) {
	listener, err := net.Listen("tcp", address)
	keep(listener, err)
	for {
		connection, err := listener.Accept() // opened here: main.serve
		keep(connection, err)
	}
}

func serveHTTP(address string) {
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { select {} })
	http.ListenAndServe(address, handler) // opened here: main.serveHTTP
}

// The transport of net/http dials on a goroutine of its own.
func fetch(address string) {
	answer, err := http.Get("http://" + address + "/endless")
	keep(answer, err)
	io.CopyN(io.Discard, answer.Body, 1)
}

func fetchByOwnDialer(address string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address) // opened here: main.fetchByOwnDialer
	}}
	answer, err := (&http.Client{Transport: transport}).Get("http://" + address + "/endless")
	keep(answer, err)
}

type ledgerDriver struct{}
type ledgerConnection struct{ net.Conn }

func (ledgerConnection) Prepare(string) (driver.Stmt, error) { return nil, errors.New("none") }
func (ledgerConnection) Begin() (driver.Tx, error)           { return nil, errors.New("none") }

func (ledgerDriver) Open(address string) (driver.Conn, error) {
	connection, err := net.Dial("tcp", address) // opened here: main.ledgerDriver.Open
	return ledgerConnection{connection}, err
}

func query(address string) {
	sql.Register("ledger", ledgerDriver{})
	database, err := sql.Open("ledger", address)
	keep(database, err)
	connection, err := database.Conn(context.Background())
	keep(connection, err)
}

func takeFromPool(address string) {
	connections := pool.New(address, false)
	kept = append(kept, connections)
	connections.Get() // opened here: main.takeFromPool
}

func readAll(address string) {
	connection, err := net.Dial("tcp", address)
	keep(connection, err)
	io.Copy(io.Discard, connection) // read here: main.readAll
}

func main() {
	address := "127.0.0.1:" + os.Args[2]
	switch os.Args[1] {
	case "dial":
		openLedger(address)
	case "timeout":
		openInTime(address)
	case "context":
		openWithContext(address)
	case "goroutine":
		go openLedger(address)
	case "closure":
		func() {
			connection, err := net.Dial("tcp", address) // opened here: main.main.func1
			keep(connection, err)
		}()
	case "method":
		(&till{address}).open()
	case "generic":
		openAny(text(address))
	case "defer":
		openAtTheEnd(address)
	case "accept":
		go serve(address)
	case "http-server":
		serveHTTP(address)
	case "http-client":
		fetch(address)
	case "own-dialer":
		fetchByOwnDialer(address)
	case "sql":
		query(address)
	case "vendored":
		takeFromPool(address)
	case "vendored-background":
		connections := pool.New(address, true)
		kept = append(kept, connections)
		connections.Ask()
	case "read":
		readAll(address)
	}
	select {}
}
