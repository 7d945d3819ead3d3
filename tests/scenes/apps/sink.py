"""Accepts connections at a port of loopback, with little room, and never reads."""
import socket
import sys

KEPT = []

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
while True:
    KEPT.append(listener.accept())
