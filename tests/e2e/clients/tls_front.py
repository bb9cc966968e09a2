"""Ends TLS in front of a server that speaks none, and changes no byte: for clients whose URL is a constant.

  tls_front.py ADDRESS:PORT CERTIFICATE KEY TARGET_ADDRESS:PORT      prints `ready` when it listens
"""

import socket
import ssl
import sys
import threading


def pair(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def carry(client, context, target):
    try:
        with context.wrap_socket(client, server_side=True) as inner, socket.create_connection(target) as outer:
            back = threading.Thread(target=copy, args=(outer, inner))
            back.start()
            copy(inner, outer)
            back.join()
    except OSError as error:
        print(error, file=sys.stderr)


here, certificate, key, target = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
with socket.create_server(pair(here)) as listener:
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=carry, args=(client, context, pair(target)), daemon=True).start()
