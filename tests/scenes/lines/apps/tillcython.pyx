# Compiled by Cython. The comment "opened here" names the function that has to be named.

import socket


def open_by_cython(port):
    return socket.create_connection(("127.0.0.1", port))  # opened here: open_by_cython
