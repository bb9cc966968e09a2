"""Stops an edge while slow clients are served, and takes its network away when it has ended, as a container engine does.
Prints how many of them got everything, in each way.

Arguments: the program, a folder, the ways. Called by drains.rs, in a network namespace of its own, with the clients and
their origin; the edge is in another one.
"""

import base64
import functools
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

PROGRAM, FOLDER, *WAYS = sys.argv[1:]
HERE, EDGE, APPS = "10.99.0.1", "10.99.0.2", "10.99.1.0/24"
SIZE = 16 << 20
PATIENCE = 30
NAME, PORT = "www.bartizan.localhost", "app.bartizan.localhost"
CLIENTS = 5


def until(what, is_so):
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            edge.kill()
            sys.exit("not in time: " + what)
        time.sleep(0.02)


def run(*words, **how):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


os.mkdir(FOLDER + "/files")
with open(FOLDER + "/files/large", "wb") as file:
    file.write(os.urandom(SIZE))
run("ip", "link", "set", "lo", "up")
up = [PROGRAM, "up", "--json", "--no-demo", "--workers", "1", "--data", FOLDER + "/data", "--pool", APPS]
up += ["--address", EDGE, "--http", EDGE + ":80", "--https", EDGE + ":443", "--private-origins", "allow"]
up += ["--api", "127.0.0.1:8787", "--api", EDGE + ":8787", "--dns", EDGE + ":53", "--dns-tls", EDGE + ":853"]
edge = subprocess.Popen(
    ["unshare", "--net", "sh", "-c", 'read go; exec "$@"', "sh"] + up,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
)
inside = ["nsenter", "--target", str(edge.pid), "--net"]
network = functools.partial(os.readlink, "/proc/%d/ns/net" % edge.pid)
until("a network for the edge", lambda: network() != os.readlink("/proc/self/ns/net"))
run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(edge.pid))
run("ip", "address", "add", HERE + "/24", "dev", "near")
run("ip", "link", "set", "near", "up")
run("ip", "route", "add", APPS, "via", EDGE)
run(*inside, "ip", "link", "set", "lo", "up")
run(*inside, "ip", "address", "add", EDGE + "/24", "dev", "far")
run(*inside, "ip", "link", "set", "far", "up")
edge.stdin.write("\n")
edge.stdin.flush()
ready = json.loads(edge.stdout.readline())


class Origin(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/socket":
            return super().do_GET()
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.write(message)
        self.wfile.flush()
        self.close_connection = True


server = http.server.ThreadingHTTPServer((HERE, 0), functools.partial(Origin, directory=FOLDER + "/files"))
threading.Thread(target=server.serve_forever, daemon=True).start()
origin = "%s:%d" % server.server_address
environment = dict(os.environ, BARTIZAN_DATA=FOLDER + "/data")
bartizan = functools.partial(run, *inside, PROGRAM, env=environment)
with open(FOLDER + "/files/large", "rb") as file:
    large = file.read()
# One message of a WebSocket (RFC 6455 §5.2).
message = b"\x82\x7f" + struct.pack(">Q", SIZE) + large
# Text of 4,000 octets.
text = " ".join(['"%s"' % (250 * "x")] * 16)
any_host = ssl.create_default_context()
any_host.check_hostname, any_host.verify_mode = False, ssl.CERT_NONE


def many(name):
    """So many records that no buffer on the way holds them."""
    return "".join("%s%d.bartizan.localhost. 300 IN TXT %s\n" % (name, n, text) for n in range(1000))


def to_api(method, path, length=0):
    zone = "/client/v4/zones/" + ready["zone"]["id"]
    head = "%s %s/%s HTTP/1.1\r\nHost: %s:8787\r\nAuthorization: Bearer %s\r\n" % (method, zone, path, EDGE, ready["token"])
    return head + "Content-Type: multipart/form-data; boundary=end\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % length


def connect(port, tls):
    # So little is under way that the rest waits at the edge.
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    connection.settimeout(PATIENCE)
    connection.connect((EDGE, port))
    if tls:
        # An end without a close_notify is an error.
        return any_host.wrap_socket(connection, server_hostname=NAME, suppress_ragged_eofs=False)
    return connection


class Client(threading.Thread):
    """Asks for something, and reads it at a rate."""

    def __init__(self, way):
        super().__init__(daemon=True)
        self.way, self.begun, self.whole = way, False, False

    def run(self):
        try:
            self.whole = getattr(self, self.way.replace("-", "_"))()
        except OSError as error:
            print("%s: %s" % (self.way, error), file=sys.stderr)

    def read(self, connection, rate, begun):
        """All until the end, which has to be one in order."""
        # To append to bytes would copy all of them, each time.
        got, start = bytearray(), time.monotonic()
        while piece := connection.recv(16 << 10):
            got += piece
            self.begun = len(got) > begun
            time.sleep(max(0, start + len(got) / rate - time.monotonic()))
        return got

    def dns(self, port=53, tls=False):
        connection = connect(port, tls)
        queries = b""
        for number in range(12):
            name = b"".join(bytes([len(label)]) + label for label in b"big.bartizan.localhost".split(b"."))
            query = struct.pack(">6H", number, 0, 1, 0, 0, 0) + name + struct.pack(">BHH", 0, 16, 1)
            queries += struct.pack(">H", len(query)) + query
        connection.sendall(queries)
        got, answers = self.read(connection, 200_000, 50_000), []
        while got:
            (length,) = struct.unpack(">H", got[:2])
            # Its number, and how many records are in it.
            answers.append((length == len(got[2 : length + 2]), *struct.unpack(">H4xH", got[2:10])))
            got = got[length + 2 :]
        return answers == [(True, number, 12) for number in range(12)]

    def dns_tls(self):
        return self.dns(853, True)

    def websocket(self):
        connection = connect(80, False)
        head = "GET /socket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" % NAME
        key = base64.b64encode(os.urandom(16)).decode()
        head += "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % key
        connection.sendall(head.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        # Nothing more is said on this side, so that the end of the message is the end of both.
        connection.shutdown(socket.SHUT_WR)
        return head.startswith(b"HTTP/1.1 101") and self.read(connection, 4 << 20, 100_000) == message

    def export(self):
        connection = connect(8787, True)
        connection.sendall(to_api("GET", "dns_records/export").encode())
        got = self.read(connection, 2 << 20, 100_000)
        # What an upload makes meanwhile may be there or not.
        records = re.findall(rb"\n(?:big|t\d+)\.bartizan\.localhost\.\t", got)
        return got.startswith(b"HTTP/1.1 200") and len(records) == 1012 and got.endswith(b"\r\n0\r\n\r\n")

    def upload(self):
        """Sends a half of a file before the stop, and the other after it."""
        body = '--end\r\nContent-Disposition: form-data; name="file"; filename="z"\r\n\r\n%s\r\n--end--\r\n' % many("u")
        head, half = to_api("POST", "dns_records/import", len(body)), len(body) // 2
        connection = connect(8787, True)
        connection.sendall((head + body[:half]).encode())
        self.begun = True
        stopped.wait()
        connection.sendall(body[half:].encode())
        got = self.read(connection, 1 << 20, 0)
        return got.startswith(b"HTTP/1.1 200") and b'"recs_added":1000' in got


class Download:
    """The same by curl."""

    def __init__(self, number, words):
        self.path = "%s/got-%d" % (FOLDER, number)
        curl = ["curl", "--silent", "--show-error", "--limit-rate", "4M", "--max-time", "60", "--output", self.path]
        self.process = subprocess.Popen(curl + words)

    @property
    def begun(self):
        return os.path.exists(self.path) and os.path.getsize(self.path) > 100_000

    def join(self):
        self.process.wait()

    @property
    def whole(self):
        with open(self.path, "rb") as file:
            return self.process.returncode == 0 and file.read() == large


bartizan("record", "create", NAME, "A", HERE, "--proxied", "--origin-port", origin.split(":")[1])
bartizan("app", "create", PORT, "tcp/9000", "tcp://" + origin)
bartizan("app", "create", PORT, "tcp/9001", "tcp://" + origin, "--tls", "flexible")
app = json.loads(bartizan("app", "list", "--json"))[0]["bartizan"]["addresses"][0]
curls = {
    "http1": ["--http1.1", "--connect-to", "::%s:80" % EDGE, "http://%s/large" % NAME],
    "tls": ["--http1.1", "--insecure", "--connect-to", "::%s:443" % EDGE, "https://%s/large" % NAME],
    "http2": ["--http2", "--insecure", "--connect-to", "::%s:443" % EDGE, "https://%s/large" % NAME],
    "tcp": ["http://%s:9000/large" % app],
    "tcp-tls": ["--http1.1", "--insecure", "--connect-to", "::%s:9001" % app, "https://%s/large" % PORT],
}
for way in set(WAYS) & set(curls) or {"http1"}:
    probe = ["curl", "--silent", "--fail", "--max-time", "2", "--range", "0-9", "--output", "/dev/null"] + curls[way]
    until("an answer by " + way, lambda: subprocess.run(probe).returncode == 0)
if not set(WAYS) <= set(curls):
    with open(FOLDER + "/zone", "w") as file:
        # One answer of 48 KB, and many names.
        file.writelines('big.bartizan.localhost. 300 IN TXT %s "%d"\n' % (text, n) for n in range(12))
        file.write(many("t"))
    bartizan("zone", "import", "--zone", "bartizan.localhost", FOLDER + "/zone")
    dig = ["dig", "-r", "@" + EDGE, "+tcp", "+norecurse", "big.bartizan.localhost", "TXT"]
    until("the zone in DNS", lambda: "ANSWER: 12," in run(*dig))
stopped = threading.Event()
clients = []
# Of all imports into a zone one goes on.
for number, way in enumerate(way for way in WAYS for _ in range(1 if way == "upload" else CLIENTS)):
    client = Download(number, curls[way]) if way in curls else Client(way)
    if way not in curls:
        client.start()
    clients.append((way, client))
until("the beginning of all", lambda: all(client.begun for _, client in clients))
edge.send_signal(signal.SIGTERM)
stopped.set()
status = edge.wait()
# With its last process the edge's network may have gone already, and this end with it.
subprocess.run(["ip", "link", "delete", "near"], stderr=subprocess.DEVNULL)
whole = dict.fromkeys(WAYS, 0)
for way, client in clients:
    client.join()
    whole[way] += client.whole
print(json.dumps({"status": status, "whole": whole}))
