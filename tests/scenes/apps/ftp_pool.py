"""Three idle sessions with an FTP server of loopback."""
import ftplib
import signal
import sys

pool = []
for _ in range(3):
    session = ftplib.FTP()
    session.connect("127.0.0.1", int(sys.argv[1]))
    session.login()
    pool.append(session)
print("ready")
signal.pause()
