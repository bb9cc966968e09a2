"""A WebSocket client (RFC 6455) of the standard library: sends messages, prints what comes back.

  websocket.py ADDRESS PORT HOST PATH [CA]     lines on standard input are messages; with CA over TLS

Prints the status line of the handshake, then each echo; a line `#N` sends a binary message of N bytes and prints the
length and hash of the echo. Ends with a close and prints the code that comes back.
"""

import base64
import hashlib
import os
import socket
import ssl
import struct
import sys

address, port, host, path, *ca = sys.argv[1:]
connection = socket.create_connection((address, int(port)), timeout=30)
if ca:
    context = ssl.create_default_context(cafile=ca[0])
    context.set_alpn_protocols(["http/1.1"])
    connection = context.wrap_socket(connection, server_hostname=host)
stream = connection.makefile("rwb")


def send(opcode, data):
    mask = os.urandom(4)
    head = bytes([0x80 | opcode])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 65536:
        head += bytes([0x80 | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", len(data))
    stream.write(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))
    stream.flush()


def receive():
    first, second = stream.read(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", stream.read(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", stream.read(8))
    return first & 0x0F, stream.read(length)


key = base64.b64encode(os.urandom(16)).decode()
stream.write(
    f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
)
stream.flush()
status = stream.readline().decode().strip()
headers = {}
while line := stream.readline().decode().strip():
    name, _, value = line.partition(":")
    headers[name.lower()] = value.strip()
print(status)
if " 101 " not in status + " ":
    sys.exit(1)
accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
if headers.get("sec-websocket-accept") != base64.b64encode(accept).decode():
    sys.exit("the handshake is not for our key")

for message in sys.stdin.read().splitlines():
    if message.startswith("#"):
        sent = os.urandom(int(message[1:]))
        send(2, sent)
        opcode, data = receive()
        print(len(data), "same" if data == sent else "different")
    else:
        send(1, message.encode())
        print(receive()[1].decode())
send(8, struct.pack(">H", 1000))
opcode, data = receive()
print("closed", struct.unpack(">H", data[:2])[0])
