"""The life of a zone with DNSSEC beside a real parent (Knot) and a real validator (unbound): signed, known to the parent, keys
exchanged under queries, and without signatures again; by hand, and by a registry. Prints what was seen.

Arguments: the program, a folder, and `csk` or `split` for the keys of the zone. Called by dnssec.rs, in a network namespace of its own. An hour of the edge is a second here,
and the validator keeps nothing for longer.
"""

import http.server
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

PROGRAM, FOLDER, KEYS = sys.argv[1:]
PARENT, RESOLVER, EDGE, REGISTRY = "127.0.0.9", "127.0.0.53", "127.0.0.1", 8053
ZONE = "example.test"
PATIENCE = 120
running = []


def end():
    for process in running:
        process.kill()


def until(what, is_so):
    last = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > last:
            end()
            sys.exit("not in time: " + what + "\n" + str(cli("status")))
        time.sleep(0.1)


def run(*words, **how):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


def write(name, text):
    path = os.path.join(FOLDER, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def start(*words):
    with open(os.path.join(FOLDER, os.path.basename(words[0]) + ".log"), "w") as log:
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True))
    return running[-1]


run("ip", "link", "set", "lo", "up")
os.mkdir(FOLDER + "/knot")
knot = write(
    "knot.conf",
    f"""
server:
  rundir: "{FOLDER}/knot"
  listen: {PARENT}@53
database:
  storage: "{FOLDER}/knot"
policy:
  - id: policy
    algorithm: ecdsap256sha256
    single-type-signing: on
    dnskey-ttl: 1
zone:
  - domain: test.
    storage: "{FOLDER}/knot"
    file: test.zone
    dnssec-signing: on
    dnssec-policy: policy
""",
)
write(
    "knot/test.zone",
    f"""
test. 1 SOA ns.test. hostmaster.test. 1 3600 600 86400 1
test. 1 NS ns.test.
ns.test. 1 A {PARENT}
{ZONE}. 1 NS ns1.{ZONE}.
ns1.{ZONE}. 1 A {EDGE}
""",
)


def knotc(*words):
    return subprocess.run(["knotc", "-c", knot, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


start("knotd", "-c", knot)
until("the parent", lambda: knotc("status"))
# In the place of the parent's own list of keys, which the root would have.
trusted = lambda: subprocess.run(["keymgr", "-c", knot, "test.", "ds"], stdout=subprocess.PIPE, text=True).stdout
until("keys of the parent", lambda: "DS" in trusted())
unbound = write(
    "unbound.conf",
    f"""
server:
  directory: "{FOLDER}"
  chroot: ""
  username: ""
  pidfile: ""
  interface: {RESOLVER}
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: "{trusted().splitlines()[0]}"
  local-zone: "test." nodefault
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  val-bogus-ttl: 1
  val-log-level: 2
  use-syslog: no
stub-zone:
  name: "test."
  stub-addr: {PARENT}
""",
)
start("unbound", "-d", "-c", unbound)
os.environ["BARTIZAN_DNSSEC_PACE"] = "3600"
words = ["--data", FOLDER + "/data", "--dns", EDGE + ":53", "--resolver", RESOLVER, "--no-demo", "--user", "root", "--json"]
edge = start(PROGRAM, "up", *words)
ready = json.loads(edge.stdout.readline())
os.environ["BARTIZAN_DATA"] = FOLDER + "/data"


def call(*words):
    done = subprocess.run([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def cli(action, *words, zone=ZONE):
    return json.loads(run(PROGRAM, "dnssec", action, zone, *words, "--json"))


def is_status(*statuses, zone=ZONE):
    return lambda: cli("status", zone=zone)["status"] in statuses


def stages():
    return [key["stage"] for key in cli("status")["keys"]]


def ask(name, kind, server=RESOLVER):
    text = run("dig", "@" + server, name, kind, "+dnssec", "+tries=1", "+time=5")
    flags = re.search(r"flags: ([a-z ]*);", text)
    return {"status": re.search(r"status: (\w+)", text)[1], "secure": " ad" in flags[1]}


def short(kind):
    return [line.replace(" ", "") for line in run("dig", "@" + EDGE, ZONE, kind, "+short").splitlines()]


def put_at_parent(records):
    knotc("zone-begin", "test.")
    knotc("zone-unset", "test.", ZONE + ".", "DS")
    for record in records:
        # The validator keeps it for a second all the same.
        knotc("zone-set", "test.", ZONE + ".", "3600", "DS", *record.split())
    assert knotc("zone-commit", "test.")


def wanted():
    return cli("ds")["ds"][0].split(" DS ")[1]


class Registry(http.server.BaseHTTPRequestHandler):
    """DSU 1.0, as far as it is called."""

    calls = []

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        field = lambda name: form.get(name, [""])[0]
        Registry.calls.append([field("userid"), field("domain")])
        status, fault = 200, None
        if field("password") != "p&ss word":
            status, fault = 530, "531"
        elif field("keytag1") == "DELETE_DS":
            put_at_parent([])
        else:
            sets = [[field(part + str(number)) for part in ("keytag", "algorithm", "digest_type", "digest")] for number in (1, 2)]
            put_at_parent([" ".join(one) for one in sets if all(one)])
        self.send_response(status)
        if fault:
            self.send_header("X-DSU", fault)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


seen = {"queries": 0, "failed": [], "insecure": 0}
loading, want_secure, lock = threading.Event(), threading.Event(), threading.Lock()
TYPES = {"A": 1, "MX": 15, "TXT": 16}
# Seconds without an answer: on a loaded machine a validator may ask twice or three times for one.
RATE, CLIENTS, SILENT = 60, 4, 20


def load():
    """A client of the validator: so many queries a second with its likes, each answered before the next."""
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.connect((RESOLVER, 53))
    asker.settimeout(SILENT)
    began, count = time.monotonic(), 0
    while loading.is_set():
        number = random.randrange(10**6)
        owner, kind = [("www", "A"), ("no%d" % number, "A"), ("x%d.wild" % number, "TXT"), ("www", "MX")][count % 4]
        # Recursion and AD desired; EDNS with DO.
        head = struct.pack("!6H", number % 2**16, 0x0120, 1, 0, 0, 1)
        name = b"".join(bytes([len(label)]) + label.encode() for label in f"{owner}.{ZONE}".split(".")) + b"\0"
        asker.send(head + name + struct.pack("!2H", TYPES[kind], 1) + struct.pack("!BHHIH", 0, 41, 1232, 0x8000, 0))
        flags = None
        try:
            while flags is None:
                answer = asker.recv(4096)
                if answer[:2] == head[:2]:
                    flags = struct.unpack("!H", answer[2:4])[0]
        except TimeoutError:
            pass
        with lock:
            seen["queries"] += 1
            if flags is None or flags & 15 not in (0, 3):
                seen["failed"].append([owner, kind, flags])
            seen["insecure"] += want_secure.is_set() and not (flags or 0) & 0x20
        count += 1
        time.sleep(max(0, began + count * CLIENTS / RATE - time.monotonic()))


run(PROGRAM, "zone", "create", ZONE)
for words in [("www", "A", "192.0.2.1"), ("ns1", "A", EDGE), ("*.wild", "TXT", "hello")]:
    run(PROGRAM, "record", "create", f"{words[0]}.{ZONE}", *words[1:])
told = {}
until("the zone", lambda: ask("www." + ZONE, "A")["status"] == "NOERROR")
told["before"] = ask("www." + ZONE, "A")


def complaints(zone=ZONE):
    """Of a zone beside its parent: by rule."""
    done = subprocess.run([PROGRAM, "zone", "check", zone, "--json"], stdout=subprocess.PIPE, text=True)
    mine = ("delegation", "glue-differs", "lame", "not-delegated", "parent", "ds-of", "dnssec", "child")
    return sorted({one["rule"] for one in json.loads(done.stdout)["findings"] if one["rule"].startswith(mine)})


def delegated(ns, glue, *more):
    """At the parent."""
    knotc("zone-begin", "test.")
    for owner, kind in [(ZONE, "NS"), (ZONE, "DS"), ("ns1." + ZONE, "A")]:
        knotc("zone-unset", "test.", owner + ".", kind)
    for owner, kind, data in [(ZONE, "NS", ns), ("ns1." + ZONE, "A", glue), *more]:
        if data:
            knotc("zone-set", "test.", owner + ".", "1", kind, *data.split())
    assert knotc("zone-commit", "test.")


# The zone's own servers are ns1 and ns2 of the edge's domain.
told["complaints"] = [complaints()]
# A zone below at a server that does not know it.
lame = [("sub", "NS", "ns.sub." + ZONE), ("ns.sub", "A", PARENT)]
for name, kind, data in lame:
    run(PROGRAM, "record", "create", f"{name}.{ZONE}", kind, data)
told["children"] = complaints()
for name, kind, _ in lame:
    run(PROGRAM, "record", "delete", "-y", f"{name}.{ZONE}", kind)
delegated(f"ns1.{ZONE}.", "127.0.0.77")
told["complaints"].append(complaints())
delegated(f"ns1.{ZONE}.", EDGE, (ZONE, "DS", "1 13 2 " + "ab" * 32))
told["complaints"].append(complaints())
delegated("", "")
told["complaints"].append(complaints())
delegated(f"ns1.{ZONE}.", EDGE)
until("the zone again", lambda: ask("www." + ZONE, "A")["status"] == "NOERROR")
told["enabled"] = cli("enable", "--keys", KEYS)["status"]
until("it is signed", lambda: short("CDS") and short("DNSKEY"))
told["cds"] = short("CDS") == [wanted().replace(" ", "")]
ROLES = {"csk": ["csk"], "split": ["zsk", "ksk"]}[KEYS]
keys = short("DNSKEY")
told["cdnskey"] = len(short("CDNSKEY")) == 1 and set(short("CDNSKEY")) <= set(keys) and len(keys) == len(ROLES)


def bitmap(owner, kind):
    text = run("dig", "@" + EDGE, f"{owner}.{ZONE}", kind, "+dnssec", "+noall", "+authority")
    return next((line.split()[5:] for line in text.splitlines() if line.split()[3:4] == ["NSEC"]), [])


def walk(denial, is_in_force):
    """Who goes from name to name sees the zone's own and no other, which ldns-walk tries until names are too long."""
    cli("enable", "--denial", denial)
    until(denial, is_in_force)
    walked = subprocess.run(["ldns-walk", "@" + EDGE, ZONE], stdout=subprocess.PIPE, text=True, timeout=PATIENCE).stdout
    learned = [name for name in ("www", "ns1", "wild") if name in walked]
    return [denial, ZONE in walked, learned]


told["walks"] = [
    walk("black-lies", lambda: bitmap("nothing", "A") == ["RRSIG", "NSEC"]),
    walk("shotgun", lambda: "HINFO" in bitmap("www", "TXT")),
    walk("compact", lambda: bitmap("nothing", "A")[2:] != [] and "HINFO" not in bitmap("www", "TXT")),
]
loading.set()
began = time.monotonic()
threads = [threading.Thread(target=load, daemon=True) for _ in range(CLIENTS)]
for thread in threads:
    thread.start()
put_at_parent([wanted()])
until("active", is_status("active"))
time.sleep(2)
told["after"] = ask("www." + ZONE, "A")
want_secure.set()
told["new"] = []
for role in ROLES:
    old, before = wanted(), short("DNSKEY")
    cli("roll", "--key", role)
    until("a key that goes", lambda: "outgoing" in stages())
    told["new"].append(wanted() != old)
    put_at_parent([wanted()])
    until("no key more than before", lambda: stages() == ["active"] * len(ROLES))
    until("the old key is gone", lambda: len(short("DNSKEY")) == len(ROLES) and set(short("DNSKEY")) != set(before))
    time.sleep(2)
want_secure.clear()
code, _, error = call("dnssec", "disable", ZONE)
told["disabled"] = [code, cli("status")["status"], short("CDS"), short("CDNSKEY")]
put_at_parent([])
until("disabled", is_status("disabled"))
time.sleep(2)
told["at the end"] = ask("www." + ZONE, "A")
cli("enable", "--keys", KEYS)
put_at_parent([wanted()])
until("active again", is_status("active"))
time.sleep(2)
told["again"] = ask("www." + ZONE, "A")

# A zone inside of it that is on this edge too: its parent is asked and told here.
INSIDE = "inside." + ZONE
run(PROGRAM, "zone", "create", INSIDE)
run(PROGRAM, "record", "create", "www." + INSIDE, "A", "192.0.2.7")
until("the zone inside", lambda: ask("www." + INSIDE, "A")["status"] == "NOERROR")
inside = [ask("www." + INSIDE, "A"), complaints(INSIDE)]
cli("enable", zone=INSIDE)
until("it was asked", lambda: cli("status", zone=INSIDE)["parent"]["since"])
inside += [cli("status", zone=INSIDE)["status"], complaints(INSIDE)]


def put_here():
    put = cli("ds", "--put", zone=INSIDE)
    return [[record["type"] for record in put[what]] for what in ("deleted", "created")]


inside += [put_here(), put_here()]
until("active inside", is_status("active", zone=INSIDE))
time.sleep(2)
inside += [ask("www." + INSIDE, "A"), ask("nothing." + INSIDE, "A"), complaints(INSIDE)]
cli("disable", zone=INSIDE)
inside += [put_here()]
until("disabled inside", is_status("disabled", zone=INSIDE))
time.sleep(2)
inside += [ask("www." + INSIDE, "A"), complaints(INSIDE)]
told["inside"] = inside
code, _, error = call("zone", "delete", ZONE, "--yes")
told["kept"] = [code, "DS record" in error and "--force" in error]
loading.clear()
for thread in threads:
    thread.join()
rate = seen["queries"] / (time.monotonic() - began)
cli("disable")
put_at_parent([])
until("disabled again", is_status("disabled"))
if seen["failed"]:
    # Why, for whoever reads it.
    with open(FOLDER + "/unbound.log") as log:
        sys.stderr.write("".join(line for line in log if "validation failure" in line))
told["load"] = {"failed": seen["failed"], "insecure": seen["insecure"], "enough": seen["queries"] >= 1000}
told["rate"] = [round(rate), seen["queries"]]

# Nobody's help, and the wrong password first.
server = http.server.ThreadingHTTPServer((EDGE, REGISTRY), Registry)
threading.Thread(target=server.serve_forever, daemon=True).start()
password = write("password", "wrong\n")
registry = ["dnssec", "registry", "set", "test", "--way", "dsu", "--url", f"http://{EDGE}:{REGISTRY}/1.0"]
registry += ["--userid", "REG-1", "--password-file", password]
run(PROGRAM, *registry)
cli("enable")
until("a refusal", lambda: "531" in (cli("status")["registry"]["failure"] or ""))
write("password", "p&ss word\n")
run(PROGRAM, *registry)
until("active by the registry", is_status("active"))
cli("disable")
until("disabled by the registry", is_status("disabled"))
told["registry"] = [Registry.calls[0], json.loads(run(PROGRAM, "dnssec", "finish", "--json"))["begun"]]
end()
print(json.dumps(told))
