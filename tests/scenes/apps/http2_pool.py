"""Three idle HTTP/2 connections without TLS to a server of loopback: each has had one answer."""
import signal
import socket
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, ACKNOWLEDGED = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"
# GET / of http://scene, from HPACK's static table; it ends the headers and the stream.
HEADERS = b"\x82\x86\x84\x41\x05scene"
REQUEST = len(HEADERS).to_bytes(3, "big") + b"\1\5\0\0\0\1" + HEADERS

pool = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(3)]
for connection in pool:
    connection.sendall(PREFACE + SETTINGS + ACKNOWLEDGED + REQUEST)
    answer = b""
    while not answer.endswith(b"answered"):
        answer += connection.recv(65536)
print("ready")
signal.pause()
