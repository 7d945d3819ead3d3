"""Three idle connections to a MariaDB server of loopback, which ends them after so many seconds."""
import signal
import sys

import pymysql

pool = [pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root") for _ in range(3)]
for connection in pool:
    with connection.cursor() as cursor:
        cursor.execute("set session wait_timeout = %s", int(sys.argv[2]))
print("ready")
signal.pause()
