"""Accepts connections at a port of loopback, reads what comes, and neither answers nor closes."""
import socket
import sys
import threading

KEPT = []


def read(connection):
    while connection.recv(65536):
        pass


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
while True:
    accepted, _ = listener.accept()
    KEPT.append(accepted)
    threading.Thread(target=read, args=(accepted,), daemon=True).start()
