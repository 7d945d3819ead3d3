// Package pool is a library that somebody else wrote: it keeps connections, as database/sql does.
package pool

import "net"

// Pool keeps connections to one address.
type Pool struct {
	address string
	kept    []net.Conn
	wanted  chan struct{}
}

// New makes a pool that opens in the background, if asked to.
func New(address string, background bool) *Pool {
	pool := &Pool{address: address, wanted: make(chan struct{})}
	if background {
		go func() {
			for range pool.wanted {
				pool.Get()
			}
		}()
	}
	return pool
}

// Get opens a connection at once.
func (pool *Pool) Get() net.Conn {
	connection, err := net.Dial("tcp", pool.address)
	if err != nil {
		panic(err)
	}
	pool.kept = append(pool.kept, connection)
	return connection
}

// Ask has one opened later.
func (pool *Pool) Ask() { pool.wanted <- struct{}{} }
