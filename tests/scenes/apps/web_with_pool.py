"""A threaded web server whose answers have no end, with three idle connections to a Redis server."""
import http.server
import sys

import redis


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(65536))


pool = redis.ConnectionPool(host="127.0.0.1", port=int(sys.argv[1]))
used = [pool.get_connection("PING") for _ in range(3)]
for connection in used:
    connection.send_command("PING")
    connection.read_response()
    pool.release(connection)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
print("ready")
server.serve_forever()
