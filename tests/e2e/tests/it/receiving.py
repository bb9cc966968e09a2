"""A server that receives mail and believes what DNS says of its senders (SPF, DKIM, DMARC), and a sender before it, while the
sender's zone is flagged as phishing and after. Prints what the server said each time.

Arguments: the program, a folder. Called by dns_posts.rs, in namespaces of its own for the network and for mounts.
"""

import asyncore
import json
import os
import smtpd
import smtplib
import subprocess
import sys
import threading
import time

import authheaders
import dkim

PROGRAM, FOLDER = sys.argv[1:]
EDGE, SENDER, RECEIVER, PORT = "127.0.0.1", "192.0.2.25", "192.0.2.26", 2525
ZONE, PATIENCE = "astronautrentals.com", 60


def run(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def path(name, text=None):
    file = os.path.join(FOLDER, name)
    if text is not None:
        with open(file, "w") as out:
            out.write(text)
    return file


run("ip", "link", "set", "lo", "up")
for address in (SENDER, RECEIVER):
    run("ip", "address", "add", address + "/32", "dev", "lo")
# All that is asked here is asked of the edge.
run("mount", "--bind", path("resolv.conf", f"nameserver {EDGE}\n"), "/etc/resolv.conf")
words = ["--data", path("data"), "--dns", EDGE + ":53", "--resolver", EDGE + ":9", "--no-demo", "--user", "root", "--json"]
edge = subprocess.Popen([PROGRAM, "up", *words], stdout=subprocess.PIPE, stderr=open(path("edge.log", ""), "w"), text=True)
edge.stdout.readline()
os.environ["BARTIZAN_DATA"] = path("data")
run("openssl", "genrsa", "-out", path("key"), "1024")
public = "".join(run("openssl", "rsa", "-in", path("key"), "-pubout").split("\n")[1:-2])
run(PROGRAM, "zone", "create", ZONE)
for name, text in [
    (ZONE, f"v=spf1 ip4:{SENDER} -all"),
    (f"sel._domainkey.{ZONE}", f"v=DKIM1; k=rsa; p={public}"),
    (f"_dmarc.{ZONE}", "v=DMARC1; p=none"),
]:
    run(PROGRAM, "record", "create", name, "TXT", text)


class Receiving(smtpd.SMTPServer):
    """Refuses what the domain in From wants refused (RFC 7489 section 6.6.2)."""

    verdict = None

    def process_message(self, peer, sender, recipients, data, **_):
        judged = {"spf": True, "dkim": True, "dmarc": True, "ip": peer[0], "mail_from": sender, "helo": "mail." + ZONE}
        # The server has taken the end of the last line.
        self.verdict = authheaders.authenticate_message(data + b"\r\n", "mx.example.net", **judged)
        if "dmarc=fail" in self.verdict and "policy.dmarc=reject" in self.verdict:
            return "550 5.7.1 rejected as the domain wants it"


receiving = Receiving((RECEIVER, PORT), None)
threading.Thread(target=asyncore.loop, kwargs={"timeout": 0.1}, daemon=True).start()


def send():
    text = f"From: <win@{ZONE}>\r\nTo: <you@example.net>\r\nSubject: a trip\r\n\r\nto the moon\r\n".encode()
    with open(path("key"), "rb") as key:
        text = dkim.sign(text, b"sel", ZONE.encode(), key.read(), include_headers=[b"from", b"to", b"subject"]) + text
    with smtplib.SMTP(RECEIVER, PORT, local_hostname="mail." + ZONE, source_address=(SENDER, 0)) as client:
        client.ehlo()
        client.mail("win@" + ZONE)
        client.rcpt("you@example.net")
        code, _ = client.data(text)
    said = receiving.verdict.replace("\r\n", " ")
    return [code] + [method for method in ("spf=pass", "dkim=pass", "dmarc=pass", "dmarc=fail") if method in said]


def sent(code):
    """What came of it, as soon as the zone is served as it is to be."""
    last = time.monotonic() + PATIENCE
    while True:
        told = send()
        if told[0] == code or time.monotonic() > last:
            return told
        time.sleep(0.2)


def until_served():
    last = time.monotonic() + PATIENCE
    while "p=none" not in run("dig", "@" + EDGE, "_dmarc." + ZONE, "TXT", "+short") and time.monotonic() < last:
        time.sleep(0.1)


until_served()
told = [sent(250)]
run(PROGRAM, "zone", "flag-phishing", ZONE, "on")
told.append(sent(550))
run(PROGRAM, "zone", "flag-phishing", ZONE, "off")
until_served()
told.append(sent(250))
edge.kill()
print(json.dumps(told))
