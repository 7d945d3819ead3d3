"""An asyncio server whose reader takes no notice of the end: its event loop is woken again and again."""
import asyncio
import socket
import sys


async def serve():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    listener.setblocking(False)
    while True:
        connection, _ = await loop.sock_accept(listener)
        loop.add_reader(connection, connection.recv, 65536)


asyncio.run(serve())
