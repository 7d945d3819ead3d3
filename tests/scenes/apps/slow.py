"""A WSGI application that takes for ever. `/large` is more than any client reads; `/later` goes on once it may."""
import os
import time


def later(may_go_on):
    yield b"begun"
    while not os.path.exists(may_go_on):
        time.sleep(0.02)
    while True:
        yield bytes(1000)
        time.sleep(0.1)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (bytes(65536) for _ in range(100_000))
    if environ["PATH_INFO"] == "/later":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return later(environ["QUERY_STRING"])
    print("working", flush=True)
    time.sleep(3600)
