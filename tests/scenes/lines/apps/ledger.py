"""Leaks one connection a way: `ledger.py WAY PORT`. The comment "opened here" names the function to be named."""

import socket
import sys
import threading
import time

WAY, PORT = sys.argv[1], int(sys.argv[2])
ADDRESS = ("127.0.0.1", PORT)
URL = "http://127.0.0.1:%d/" % PORT
kept = []


def open_ledger():
    kept.append(socket.create_connection(ADDRESS))  # opened here: open_ledger


def retry():
    for _ in range(3):
        open_ledger()
        return


def connect_socket():
    kept.append(socket.socket())
    kept[-1].connect(ADDRESS)  # opened here: connect_socket


def descend(levels):
    return descend(levels - 1) + 1 if levels else retry() or 0


class Ledger(socket.socket):
    def open(self):
        self.connect(ADDRESS)  # opened here: open


def generator():
    yield
    kept.append(socket.create_connection(ADDRESS))  # opened here: generator


def guarded():
    import contextlib

    @contextlib.contextmanager
    def ledger():
        kept.append(socket.create_connection(ADDRESS))  # opened here: ledger
        yield

    with ledger():
        pass


def decorated():
    import functools

    def twice(function):
        @functools.wraps(function)
        def wrapper():
            return function()

        return wrapper

    @twice
    def open_decorated():
        kept.append(socket.create_connection(ADDRESS))  # opened here: open_decorated

    open_decorated()


def serve():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(ADDRESS)
    listener.listen(16)
    while True:
        kept.append(listener.accept())  # opened here: serve


def fetch():
    import http.client

    connection = http.client.HTTPConnection(*ADDRESS)
    kept.append(connection)
    connection.request("GET", "/")  # opened here: fetch
    connection.getresponse().read()


def fetch_url():
    import urllib.request

    kept.append(urllib.request.urlopen(URL + "endless"))  # opened here: fetch_url


def fetch_by_requests():
    import requests

    session = requests.Session()
    kept.append(session)
    session.get(URL)  # opened here: fetch_by_requests


def fetch_by_httpx():
    import httpx

    client = httpx.Client()
    kept.append(client)
    answer = client.stream("GET", URL + "endless")
    kept.append(answer)
    answer.__enter__()  # opened here: fetch_by_httpx


def dial_database():
    import psycopg2

    where = dict(host="127.0.0.1", port=PORT, sslmode="disable", gssencmode="disable")
    kept.append(psycopg2.connect(**where))  # opened here: dial_database


def dial_redis():
    import redis

    client = redis.Redis(port=PORT)
    kept.append(client)
    client.ping()  # opened here: dial_redis


def serve_in_threads():
    import socketserver

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            time.sleep(600)

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        allow_reuse_address = True

    Server(ADDRESS, Handler).serve_forever()  # opened here: serve_in_threads


def serve_http():
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(600)

    http.server.HTTPServer(ADDRESS, Handler).serve_forever()  # opened here: serve_http


def in_child():
    import multiprocessing

    multiprocessing.get_context("fork").Process(target=retry_and_wait).start()


def retry_and_wait():
    retry()
    time.sleep(600)


def in_pool():
    from concurrent.futures import ThreadPoolExecutor

    ThreadPoolExecutor(2).submit(retry).result()


def run_async(main):
    import asyncio

    asyncio.new_event_loop().run_until_complete(main())  # opened here: run_async


async def open_async():
    import asyncio

    kept.append(await asyncio.open_connection(*ADDRESS))  # opened here: open_async
    await asyncio.sleep(600)


async def open_sock_async():
    import asyncio

    kept.append(socket.socket())
    kept[-1].setblocking(False)
    await asyncio.get_running_loop().sock_connect(kept[-1], ADDRESS)  # opened here: open_sock_async
    await asyncio.sleep(600)


async def serve_async():
    import asyncio

    async def handle(reader, writer):
        kept.append(writer)
        await asyncio.sleep(600)

    server = await asyncio.start_server(handle, *ADDRESS)
    await server.serve_forever()


def open_by_gevent():
    import gevent
    import gevent.socket

    def spawned():
        kept.append(gevent.socket.create_connection(ADDRESS))  # opened here: spawned
        gevent.sleep(600)

    gevent.spawn(spawned).join()


def fetch_by_aiohttp():
    import asyncio

    import aiohttp

    async def fetched():
        session = aiohttp.ClientSession()
        kept.append(session)
        kept.append(await session.get(URL + "endless"))  # opened here: fetched
        # Whoever computes reads nothing.
        time.sleep(600)

    asyncio.new_event_loop().run_until_complete(fetched())


def fetch_by_httpx_async():
    import asyncio

    import httpx

    async def fetched_later():
        client = httpx.AsyncClient()
        kept.append(client)
        # anyio connects in a task of its own.
        kept.append(await client.send(client.build_request("GET", URL + "endless"), stream=True))
        time.sleep(600)

    asyncio.new_event_loop().run_until_complete(fetched_later())


def serve_by_tornado():
    import tornado.ioloop
    import tornado.web

    class Handler(tornado.web.RequestHandler):
        def get(self):
            time.sleep(600)

    tornado.web.Application([("/", Handler)]).listen(PORT, "127.0.0.1")
    tornado.ioloop.IOLoop.current().start()  # opened here: serve_by_tornado


def serve_by_twisted():
    from twisted.internet import protocol, reactor

    class Handler(protocol.Protocol):
        def dataReceived(self, data):
            time.sleep(600)

    factory = protocol.Factory.forProtocol(Handler)
    reactor.listenTCP(PORT, factory, interface="127.0.0.1")
    reactor.run()  # opened here: serve_by_twisted


def serve_by_uvloop():
    import asyncio

    import uvloop

    class Handler(asyncio.Protocol):
        def data_received(self, data):
            time.sleep(600)

    async def main():
        server = await asyncio.get_running_loop().create_server(Handler, *ADDRESS)
        await server.serve_forever()

    uvloop.new_event_loop().run_until_complete(main())  # opened here: serve_by_uvloop


def open_by_ctypes():
    import ctypes

    kept.append(socket.socket())
    address = socket.AF_INET.to_bytes(2, "little") + PORT.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
    ctypes.CDLL(None).connect(kept[-1].fileno(), address, 16)  # opened here: open_by_ctypes


def open_by_extension():
    import till

    kept.append(till.open_till(PORT))


def open_by_module_of_cython():
    import tillcython

    kept.append(tillcython.open_by_cython(PORT))


def read_all():
    connection = socket.create_connection(ADDRESS)
    kept.append(connection)
    while connection.recv(256):  # read here: read_all
        pass


WAYS = {
    "connect": retry,
    "socket": connect_socket,
    "recursion": lambda: descend(200),
    "subclass": lambda: kept.append(Ledger()) or kept[-1].open(),
    "generator": lambda: list(generator()),
    "context": guarded,
    "decorator": decorated,
    "thread": lambda: threading.Thread(target=retry).start(),
    "executor": in_pool,
    "child": in_child,
    "accept": serve,
    "accept-thread": lambda: threading.Thread(target=serve).start(),
    "http.client": fetch,
    "urllib": fetch_url,
    "requests": fetch_by_requests,
    "httpx": fetch_by_httpx,
    "psycopg2": dial_database,
    "redis": dial_redis,
    "socketserver": serve_in_threads,
    "http.server": serve_http,
    "asyncio": lambda: run_async(open_async),
    "asyncio-sock": lambda: run_async(open_sock_async),
    "asyncio-server": lambda: run_async(serve_async),
    "gevent": open_by_gevent,
    "aiohttp": fetch_by_aiohttp,
    "httpx-async": fetch_by_httpx_async,
    "tornado": serve_by_tornado,
    "twisted": serve_by_twisted,
    "uvloop": serve_by_uvloop,
    "ctypes": open_by_ctypes,
    "extension": open_by_extension,
    "cython": open_by_module_of_cython,
    "read": read_all,
}

if __name__ == "__main__":
    WAYS[WAY]()
    time.sleep(600)
