"""A pool of three idle connections to a Redis server of loopback."""
import signal
import sys

import redis

pool = redis.ConnectionPool(host="127.0.0.1", port=int(sys.argv[1]))
used = [pool.get_connection("PING") for _ in range(3)]
for connection in used:
    connection.send_command("PING")
    connection.read_response()
    pool.release(connection)
print("ready")
signal.pause()
