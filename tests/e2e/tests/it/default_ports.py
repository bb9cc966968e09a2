"""An edge on its default ports, of which another process has some: what it starts without, and what it says of it. Prints what
was seen.

Arguments: the program, a folder. Called by command_line.rs, in a network namespace of its own.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

PROGRAM, FOLDER = sys.argv[1:]
DATA = os.path.join(FOLDER, "data")
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def hold(port):
    held = socket.socket()
    # Connections of the edge before may not be quite over.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    held.listen()
    return held


def up(*words):
    words = [PROGRAM, "up", "--json", "--no-demo", "--user", "root", "--data", DATA, *words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def offered(ready):
    """How HTTP/3 is offered: by the answer of a name of the edge, and by its HTTPS record."""
    host = "offers." + ready["zone"]["name"]
    headers = {"Authorization": "Bearer " + ready["token"], "Content-Type": "application/json"}
    body = {"type": "A", "name": host, "content": "127.0.0.1", "proxied": True, "bartizan": {"origin_port": 9}}
    api = ready["api"] + "/zones/" + ready["zone"]["id"] + "/dns_records"
    if not json.load(urllib.request.urlopen(urllib.request.Request(api + "?name=" + host, headers=headers)))["result"]:
        urllib.request.urlopen(urllib.request.Request(api, json.dumps(body).encode(), headers))
    dig = ["dig", "+short", "-p", "5300", "@127.0.0.1", host, "HTTPS"]
    for _ in range(500):
        if record := subprocess.run(dig, stdout=subprocess.PIPE, text=True, check=True).stdout:
            break
        time.sleep(0.02)
    context = ssl.create_default_context(cafile=ready["ca"])
    with context.wrap_socket(socket.create_connection(("::1", 8443)), server_hostname=host) as stream:
        stream.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: stream.recv(65536), b"")).lower()
    return [b"\r\nalt-svc: h3=" in answer, "h3" in record]


def run(*words):
    return subprocess.run([PROGRAM, *words, "--data", DATA, "--json"], stdout=subprocess.PIPE, text=True).stdout


def listener(problems):
    return [[one["kind"], one["what"]] for one in problems if one["kind"] == "listener"]


told = {}
dns_tls = hold(8853)
edge = up()
ready = json.loads(edge.stdout.readline())
told["dns_tls"] = ready["dns_tls"]
told["status"] = listener(json.loads(run("status"))["status"]["problems"])
told["doctor"] = [one["what"] for one in json.loads(run("doctor")) if not one["ok"] and "DNS over TLS" in one["what"]]
told["readyz"] = "listener" in urllib.request.urlopen("http://127.0.0.1:8787/readyz").read().decode()
edge.terminate()
told["log"] = "no DNS over TLS on 127.0.0.1:8853: taken by python3" in edge.communicate()[1]
doctor = [one["detail"] for one in json.loads(run("doctor")) if one["what"] == "DNS-TLS 127.0.0.1:8853 TCP"]
told["before a start"] = ["`up` starts without DNS over TLS there" in detail for detail in doctor]
# Whoever names it wants it.
named = up("--dns-tls", "127.0.0.1:8853")
told["named"] = ["TCP 127.0.0.1:8853 (--dns-tls) is taken by" in named.communicate()[1], named.returncode]
for port in (8787, 5300, 8080, 8443):
    held = hold(port)
    needed = up()
    told[port] = [f"127.0.0.1:{port}" in needed.communicate()[1], needed.returncode]
    held.close()
dns_tls.close()
# Who names HTTPS does not name UDP.
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 8443))
https = ["--https", "127.0.0.1:8443", "--https", "[::1]:8443"]
doctor = [one for one in json.loads(run("doctor", *https)) if one["what"] == "HTTP/3 127.0.0.1:8443 UDP"]
told["udp before a start"] = [["`up` starts without HTTP/3 there" in one["detail"], one["remedy"]] for one in doctor]
edge = up(*https)
ready = json.loads(edge.stdout.readline())
told["udp"] = [len(ready["https"]), ready["http3"], listener(json.loads(run("status"))["status"]["problems"])]
told["udp offered"] = offered(ready)
edge.terminate()
told["udp log"] = "no HTTP/3 on 127.0.0.1:8443: taken by python3" in edge.communicate()[1]
udp.close()
edge = up()
ready = json.loads(edge.stdout.readline())
told["offered"] = offered(ready)
told["free again"] = [len(ready["dns_tls"]), listener(json.loads(run("status"))["status"]["problems"])]
edge.terminate()
edge.communicate()
print(json.dumps(told))
