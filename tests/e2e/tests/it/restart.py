"""Kills an edge and starts it again while clients connect, in a network namespace of its own. Prints what they got, and
what came over UDP from a port below 1024.

Arguments: the program, a folder, the way to applications. Called by ports.rs.
"""

import collections
import json
import os
import signal
import socket
import subprocess
import sys
import threading

PROGRAM, FOLDER, WAY = sys.argv[1:]
PATIENCE = 20
UP = [PROGRAM, "up", "--json", "--no-demo", "--workers", "1", "--data", FOLDER, "--ports", WAY]

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["mount", "-t", "bpf", "none", "/sys/fs/bpf"], check=True)


def start():
    edge = subprocess.Popen(UP, stdout=subprocess.PIPE)
    json.loads(edge.stdout.readline())
    return edge


def echo(listener):
    while True:
        client, _ = listener.accept()
        client.sendall(client.recv(100))
        client.close()


def udp_echo(server):
    while True:
        data, client = server.recvfrom(100)
        server.sendto(data, client)


def answer_over_udp(port):
    client = socket.socket(type=socket.SOCK_DGRAM)
    client.settimeout(0.5)
    client.connect(("127.77.0.1", port))
    for _ in range(2 * PATIENCE):
        try:
            client.send(b"ping")
            return client.recv(100).decode()
        except (ConnectionRefusedError, TimeoutError):
            pass


def dial(results, over):
    """Connects to one port after the other, as a client does that never tries twice."""
    number = 0
    while not over.is_set():
        number += 1
        client = socket.socket()
        client.settimeout(PATIENCE)
        outcome = None
        try:
            client.connect(("127.77.0.1", 1000 + number % 60000))
            # From here on a client may be with the process that is killed.
            outcome = "connected"
            client.sendall(b"x")
            client.recv(100)
        except ConnectionRefusedError:
            outcome = "refused"
        except OSError as error:
            outcome = outcome or repr(error)
        results[outcome] += 1
        client.close()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=echo, args=(listener,), daemon=True).start()
edge = start()
origin = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
app = [PROGRAM, "app", "create", "any.bartizan.localhost", "tcp/1-65535", origin]
subprocess.run(app, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, BARTIZAN_DATA=FOLDER))
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
threading.Thread(target=udp_echo, args=(udp,), daemon=True).start()
app = app[:4] + ["udp/1-65535", "udp://127.0.0.1:%d" % udp.getsockname()[1]]
subprocess.run(app, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, BARTIZAN_DATA=FOLDER))
results, over = collections.Counter(), threading.Event()
while True:
    try:
        socket.create_connection(("127.77.0.1", 65535), PATIENCE).close()
        break
    except ConnectionRefusedError:
        pass
clients = threading.Thread(target=dial, args=(results, over), daemon=True)
clients.start()
for ended_by in (signal.SIGKILL, signal.SIGUSR2):
    edge.send_signal(ended_by)
    edge.wait()
    edge = start()
over.set()
clients.join()
answer = answer_over_udp(53)
edge.send_signal(signal.SIGTERM)
left = [name for name in os.listdir("/sys/fs/bpf") if "bartizan" in name] if edge.wait() == 0 else ["an error"]
print(json.dumps({"left": left, "udp": answer, "others": {k: v for k, v in results.items() if k != "connected"}}))
