"""Runs a long query, after it has said which process of the server runs it."""
import sys

import psycopg2

connection = psycopg2.connect(host="127.0.0.1", port=int(sys.argv[1]), user="postgres", dbname="postgres")
print("backend", connection.get_backend_pid(), "ready")
connection.cursor().execute("select pg_sleep(3600)")
