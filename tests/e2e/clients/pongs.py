"""Speaks HTTP/2 to an edge and answers pings that it never got (RFC 9113 §6.7): what a library makes a warning of.

Arguments: host, port, name, file with the CA, how many.
"""

import socket
import ssl
import struct
import sys

HOST, PORT, NAME, CA, COUNT = sys.argv[1:]
SETTINGS, PING, ACK = 4, 6, 1


def frame(kind, flags, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags, 0, 0, 0, 0]) + payload


def read(stream, length):
    data = b""
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            sys.exit("the edge has closed the connection")
        data += piece
    return data


context = ssl.create_default_context(cafile=CA)
context.set_alpn_protocols(["h2"])
stream = context.wrap_socket(socket.create_connection((HOST, int(PORT)), 30), server_hostname=NAME)
stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0))
for number in range(int(COUNT)):
    stream.sendall(frame(PING, ACK, b"pong" + struct.pack(">I", number)))
# It has read all of them when it answers this one.
stream.sendall(frame(PING, 0, b"the last"))
while True:
    head = read(stream, 9)
    payload = read(stream, struct.unpack(">I", b"\0" + head[:3])[0])
    if head[3:5] == bytes([PING, ACK]) and payload == b"the last":
        break
print("all read")
