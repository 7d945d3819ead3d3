"""A pool of three idle connections to a PostgreSQL server of loopback."""
import signal
import sys

import psycopg2.pool

SERVER = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "postgres", "dbname": "postgres"}

pool = psycopg2.pool.ThreadedConnectionPool(3, 3, **SERVER)
used = [pool.getconn() for _ in range(3)]
for connection in used:
    with connection, connection.cursor() as cursor:
        cursor.execute("select 1")
    pool.putconn(connection)
print("ready")
signal.pause()
