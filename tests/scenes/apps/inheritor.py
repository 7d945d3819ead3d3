"""Forks a child for background work while it serves a client: the child inherits the connection, and keeps it."""
import multiprocessing
import signal
import socket
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
connection, _ = listener.accept()
child = multiprocessing.get_context("fork").Process(target=signal.pause)
child.start()
connection.recv(65536)
connection.close()
print("child", child.pid, "ready")
child.join()
