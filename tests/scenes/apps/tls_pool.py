"""Three idle HTTPS connections to a server of loopback, with this version of TLS."""
import http.client
import signal
import ssl
import sys

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = ssl.TLSVersion[sys.argv[2]]

pool = [http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=context) for _ in range(3)]
for connection in pool:
    connection.request("GET", "/")
    connection.getresponse().read()
print("ready", pool[0].sock.version())
signal.pause()
