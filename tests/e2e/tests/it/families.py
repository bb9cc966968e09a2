"""An edge between machines that have one family of addresses each, in network namespaces of their own. Prints what each client
got from each origin, and by which address the origin was told of it.

Arguments: the program, a folder. Called by http_edge.rs.
"""

import json
import subprocess
import sys
import time

PROGRAM, FOLDER = sys.argv[1:]
NETS = {"v4": ("192.0.2.1", "192.0.2.2", 24), "v6": ("2001:db8::1", "2001:db8::2", 64)}
KINDS = {"v4": "A", "v6": "AAAA"}


def run(*words, **more):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def inside(net, *words):
    return ("ip", "netns", "exec", net) + words


def at(address, port):
    return "[%s]:%d" % (address, port) if ":" in address else "%s:%d" % (address, port)


run("mount", "-t", "tmpfs", "none", "/run")
run("ip", "link", "set", "lo", "up")
for net, (here, there, bits) in NETS.items():
    run("ip", "netns", "add", net)
    run("ip", "link", "add", net, "type", "veth", "peer", "name", "edge", "netns", net)
    more = ["nodad"] if net == "v6" else []
    # The one that is not wanted is not there at all: not on loopback either, which stays down.
    if net == "v4":
        run(*inside(net, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"))
    run("ip", "address", "add", "%s/%d" % (here, bits), "dev", net, *more)
    run("ip", "link", "set", net, "up")
    run(*inside(net, "ip", "address", "add", "%s/%d" % (there, bits), "dev", "edge", *more))
    run(*inside(net, "ip", "link", "set", "edge", "up"))

ORIGIN = """
import http.server, socket, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = ("%s for %s" % (self.server.server_address[0], self.headers["X-Forwarded-For"])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
    def log_message(self, *words):
        pass
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
Server((sys.argv[1], 9000), Answer).serve_forever()
"""
children = [
    subprocess.Popen(inside(net, sys.executable, "-c", ORIGIN, there)) for net, (_, there, _) in NETS.items()
]
listen = [word for net in NETS for word in ("--http", at(NETS[net][0], 8080), "--https", at(NETS[net][0], 8443))]
addresses = [word for net in NETS for word in ("--address", NETS[net][0])]
up = [PROGRAM, "up", "--json", "--no-demo", "--ports", "listeners", "--private-origins", "allow", "--data", FOLDER]
edge = subprocess.Popen(up + listen + addresses, stdout=subprocess.PIPE)
children.append(edge)
try:
    ready = json.loads(edge.stdout.readline())
    for net, (_, there, _) in NETS.items():
        body = {"type": KINDS[net], "name": net, "content": there, "proxied": True, "bartizan": {"origin_port": 9000}}
        call = ["curl", "--silent", "--show-error", "--fail", "--header", "Authorization: Bearer " + ready["token"]]
        run(*call, "--json", json.dumps(body), "%s/zones/%s/dns_records" % (ready["api"], ready["zone"]["id"]))
    seen = {}
    for client, (here, _, _) in NETS.items():
        for origin in NETS:
            host = "%s.%s" % (origin, ready["zone"]["name"])
            for scheme, port in (("http", 8080), ("https", 8443)):
                for version in ("--http1.1", "--http2"):
                    if scheme == "http" and version == "--http2":
                        continue
                    ask = ["curl", "--silent", "--show-error", "--max-time", "20", version, "--cacert", ready["ca"]]
                    ask += ["--connect-to", "::" + at(here, port), "%s://%s/" % (scheme, host)]
                    for _ in range(100):
                        got = subprocess.run(inside(client, *ask), stdout=subprocess.PIPE, text=True).stdout
                        if " for " in got:
                            break
                        time.sleep(0.1)
                    seen["%s to %s, %s %s" % (client, origin, scheme, version[2:])] = got
    print(json.dumps(seen))
finally:
    for child in children:
        child.terminate()
    for child in children:
        child.wait()
