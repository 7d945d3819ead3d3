"""As ledger.py, for Python 2: `ledger2.py WAY PORT`."""
import socket
import sys
import time


def open_ledger():
    return socket.create_connection(("127.0.0.1", int(sys.argv[2])))  # opened here: open_ledger


kept = open_ledger()
time.sleep(600)
