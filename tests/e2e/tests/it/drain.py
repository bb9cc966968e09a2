"""Stops an edge while slow clients download, and takes its network away when it has ended, as a container engine does.
Prints how many of them got everything.

Arguments: the program, a folder. Called by drains.rs, in a network namespace of its own, with the clients and their
origin; the edge is in another one.
"""

import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time

PROGRAM, FOLDER = sys.argv[1:]
HERE, EDGE, APPS = "10.99.0.1", "10.99.0.2", "10.99.1.0/24"
SIZE = 16 << 20
PATIENCE = 30
NAME = "www.bartizan.localhost"


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
json.loads(edge.stdout.readline())


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer((HERE, 0), functools.partial(Files, directory=FOLDER + "/files"))
threading.Thread(target=server.serve_forever, daemon=True).start()
origin = "%s:%d" % server.server_address
environment = dict(os.environ, BARTIZAN_DATA=FOLDER + "/data")
words = ["record", "create", NAME, "A", HERE, "--proxied", "--origin-port", origin.split(":")[1]]
run(*inside, PROGRAM, *words, env=environment)
run(*inside, PROGRAM, "app", "create", "app.bartizan.localhost", "tcp/9000", "tcp://" + origin, env=environment)
app = json.loads(run(*inside, PROGRAM, "app", "list", "--json", env=environment))[0]["bartizan"]["addresses"][0]
ways = {
    "http1": ["--http1.1", "--connect-to", "::%s:80" % EDGE, "http://%s/large" % NAME],
    "tls": ["--http1.1", "--insecure", "--connect-to", "::%s:443" % EDGE, "https://%s/large" % NAME],
    "http2": ["--http2", "--insecure", "--connect-to", "::%s:443" % EDGE, "https://%s/large" % NAME],
    "tcp": ["http://%s:9000/large" % app],
}
for words in ways.values():
    probe = ["curl", "--silent", "--fail", "--max-time", "2", "--range", "0-9", "--output", "/dev/null"] + words
    until("an answer by all ways", lambda: subprocess.run(probe).returncode == 0)
clients = []
for number in range(20):
    way = list(ways)[number % len(ways)]
    path = "%s/got-%d" % (FOLDER, number)
    curl = ["curl", "--silent", "--show-error", "--limit-rate", "4M", "--max-time", "60", "--output", path]
    clients.append((way, path, subprocess.Popen(curl + ways[way])))
has_begun = lambda path: os.path.exists(path) and os.path.getsize(path) > 100_000
until("the beginning of all downloads", lambda: all(has_begun(path) for _, path, _ in clients))
edge.send_signal(signal.SIGTERM)
status = edge.wait()
# With its last process the edge's network may have gone already, and this end with it.
subprocess.run(["ip", "link", "delete", "near"], stderr=subprocess.DEVNULL)
whole = dict.fromkeys(ways, 0)
with open(FOLDER + "/files/large", "rb") as file:
    large = file.read()
for way, path, client in clients:
    client.wait()
    with open(path, "rb") as file:
        whole[way] += client.returncode == 0 and file.read() == large
print(json.dumps({"status": status, "whole": whole}))
