"""Asks for a path, reads the beginning of the answer, and shuts down its sending side."""
import signal
import socket
import sys

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: scene\r\n\r\n".encode())
answer = b""
while b"begun" not in answer:
    answer += connection.recv(65536)
connection.shutdown(socket.SHUT_WR)
print("ready")
signal.pause()
