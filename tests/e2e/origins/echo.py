"""An origin that says what it was asked, as JSON, and echoes WebSocket messages. Standard library only.

  GET /anything          {"method", "path", "headers": [[name, value], ...], "length", "sha256"} of the request
  GET /status/404        the same with that status
  GET /bytes/1000        so many bytes, chunked
  GET /slow/0.5          answers after that many seconds
  GET /silent            accepts the request and never answers
  GET /events            two server-sent events; the second after /release was asked for
  Upgrade: websocket     echoes every message; answers a ping; closes when told to
"""

import base64
import hashlib
import json
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
CHUNK = bytes(range(256)) * 256
RELEASED = threading.Event()


class Server(ThreadingHTTPServer):
    # An edge may dial a hundred connections at once. What the system has no room for it tells nobody of: clients wait for
    # seconds until they try again.
    request_queue_size = 512


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        length, digest = self.body()
        word, _, argument = self.path.strip("/").partition("/")
        if word == "bytes":
            return self.bytes(int(argument))
        if word == "slow":
            print("waiting", argument, flush=True)
            time.sleep(float(argument))
        if word == "events":
            return self.events()
        if word == "release":
            RELEASED.set()
        if word == "silent":
            threading.Event().wait()
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": [[name, value] for name, value in self.headers.items()],
            "length": length,
            "sha256": digest,
        }
        text = json.dumps(seen).encode()
        self.send_response(int(argument) if word == "status" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def body(self):
        """Reads the body by length or by chunks: its length and hash."""
        digest, length = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            length += len(piece)
        return length, digest.hexdigest()

    def pieces(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield from self.exactly(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            yield from self.exactly(int(self.headers.get("Content-Length", 0)))

    def exactly(self, left):
        while left:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                raise ConnectionError("the body ended early")
            left -= len(piece)
            yield piece

    def bytes(self, left):
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while left:
            piece = CHUNK[:left]
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            left -= len(piece)
        self.wfile.write(b"0\r\n\r\n")

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in (1, 2):
            piece = b"data: %d\n\n" % number
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            if number == 1:
                RELEASED.wait(60)
        self.wfile.write(b"0\r\n\r\n")

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + WEBSOCKET_GUID
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            first, second = self.rfile.read(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self.rfile.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.rfile.read(8))
            mask = self.rfile.read(4)
            data = self.rfile.read(length)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            opcode = first & 0x0F
            self.wfile.write(frame(0xA if opcode == 9 else opcode, data))
            if opcode == 8:
                return

    def log_message(self, *_):
        pass


def frame(opcode, data):
    head = bytes([0x80 | opcode])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 65536:
        return head + bytes([126]) + struct.pack(">H", len(data)) + data
    return head + bytes([127]) + struct.pack(">Q", len(data)) + data


server = Server(("127.0.0.1", 0), Echo)
server.daemon_threads = True
print("serving on port", server.server_address[1], "now", file=sys.stdout, flush=True)
server.serve_forever()
