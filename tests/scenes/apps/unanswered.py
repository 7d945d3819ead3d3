"""Asks an HTTP server of loopback, twice on one connection, and does not read the second answer."""
import http.client
import signal
import sys
import time

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/at-once")
connection.getresponse().read()
# The kernel times what is sent and received to a few milliseconds.
time.sleep(0.1)
connection.request("GET", "/never")
print("ready")
signal.pause()
