// Leaks a connection that C makes for Go: `ledgercgo WAY PORT`.
package main

/*
#include <arpa/inet.h>
#include <sys/socket.h>

__attribute__((noinline)) static int open_in_c(int port) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port)};
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int failed = connect(fd, (struct sockaddr *)&peer, sizeof peer); // opened here: open_in_c
    return failed ? -1 : fd;
}
*/
import "C"

import (
	"net"
	"os"
	"strconv"
)

func main() {
	port, _ := strconv.Atoi(os.Args[2])
	var connection net.Conn
	switch os.Args[1] {
	case "c":
		C.open_in_c(C.int(port))
	case "go":
		connection, _ = net.Dial("tcp", "localhost:"+os.Args[2]) // opened here: main.main
	}
	select {}
	_ = connection
}
