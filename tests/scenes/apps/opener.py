"""Connects to a port in the first line of each of its functions by_…, and keeps the connections."""
import asyncio
import multiprocessing
import signal
import socket
import sys
import threading

PORT = int(sys.argv[1])
KEPT = []


def by_function():
    KEPT.append(socket.create_connection(("127.0.0.1", PORT)))


def by_thread():
    KEPT.append(socket.create_connection(("127.0.0.1", PORT)))


async def by_coroutine():
    KEPT.append(await asyncio.open_connection("127.0.0.1", PORT))


def by_generator():
    yield socket.create_connection(("127.0.0.1", PORT))


def by_child():
    KEPT.append(socket.create_connection(("127.0.0.1", PORT)))
    signal.pause()


async def loop():
    await by_coroutine()
    for _, writer in KEPT[-1:]:
        writer.transport.pause_reading()
    print("ready", flush=True)
    await asyncio.sleep(3600)


by_function()
thread = threading.Thread(target=by_thread)
thread.start()
thread.join()
KEPT.append(next(by_generator()))
multiprocessing.get_context("fork").Process(target=by_child, daemon=True).start()
asyncio.run(loop())
