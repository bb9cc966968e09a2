"""Opens connections, makes a request on each, and holds them until its input ends: SCHEME ADDRESS PORT HOST COUNT."""

import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

scheme, address, port, host, count = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def open_one(number):
    # A source may have no more than is left free for others, so they come from many.
    source = (f"127.200.1.{number % 200 + 1}", 0) if address.startswith("127.") else None
    stream = socket.create_connection((address, int(port)), source_address=source)
    if scheme == "https":
        stream = context.wrap_socket(stream, server_hostname=host)
    stream.sendall(f"GET /1k HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < 1024:
        piece = stream.recv(65536)
        if not piece:
            raise SystemExit("hung up")
        answer += piece
    return stream


# A few at a time: each waits for the server more than it works.
with ThreadPoolExecutor(16) as opening:
    held = list(opening.map(open_one, range(int(count))))
print("ready", flush=True)
sys.stdin.read()
