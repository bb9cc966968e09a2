"""Both ends of gRPC by the library that most people use.

`grpc_echo.py serve [CERTIFICATE KEY]` serves on a free port of 127.0.0.1, over TLS where it has a certificate, and says which
port. `grpc_echo.py ask IP PORT HOST AUTHORITIES ROW…` asks for HOST at that address and prints a line for each row.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "bartizan.test.Echo"
# Larger than the library takes by default, both ways.
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
STUCK = 30


class Echo:
    """What it is told to do is in the metadata; messages are bytes."""

    def __init__(self):
        self.cancelled = threading.Event()

    def tell(self, context):
        told = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-began", told.get("x-asked", "-")),))
        context.set_trailing_metadata((("x-ended", "yes"), ("x-bytes-bin", b"\x00\xff")))
        return told

    def unary(self, request, context):
        told = self.tell(context)
        if "x-refuse" in told:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u00e4 chance, 100%")
        if "x-left" in told:
            # How many milliseconds it has, as the field of the deadline says.
            return str(round(context.time_remaining() * 1000)).encode()
        if "x-sleep" in told:
            time.sleep(float(told["x-sleep"]))
        return request

    def server_stream(self, request, context):
        self.tell(context)
        count, size = (int(word) for word in request.split())
        for number in range(count):
            yield bytes([number % 256]) * size

    def client_stream(self, requests, context):
        self.tell(context)
        count = length = 0
        for request in requests:
            count, length = count + 1, length + len(request)
        return f"{count} {length}".encode()

    def both(self, requests, context):
        self.tell(context)
        for request in requests:
            yield request[::-1]

    def wait(self, request, context):
        """Until the client cancels, which `was_cancelled` tells."""
        self.cancelled.clear()
        context.add_callback(self.cancelled.set)
        yield b"begun"
        while context.is_active():
            time.sleep(0.01)

    def was_cancelled(self, request, context):
        return b"yes" if self.cancelled.wait(10) else b"no"


def serve(certificate=None, key=None):
    echo = Echo()
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(echo.server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(echo.client_stream),
        "Both": grpc.stream_stream_rpc_method_handler(echo.both),
        "Wait": grpc.unary_stream_rpc_method_handler(echo.wait),
        "WasCancelled": grpc.unary_unary_rpc_method_handler(echo.was_cancelled),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if certificate:
        with open(key, "rb") as key, open(certificate, "rb") as certificate:
            credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving on 127.0.0.1 port {port} ", flush=True)
    server.wait_for_termination()


class Asking:
    def __init__(self, ip, port, host, authorities):
        with open(authorities, "rb") as authorities:
            credentials = grpc.ssl_channel_credentials(authorities.read())
        options = OPTIONS + [("grpc.ssl_target_name_override", host), ("grpc.default_authority", host)]
        self.channel = grpc.secure_channel(f"{ip}:{port}", credentials, options)

    def call(self, kind, name):
        return getattr(self.channel, kind)(f"/{SERVICE}/{name}")

    def reached(self):
        """Of a service that may not be there: whether it answers, or why not."""
        try:
            return (self.call("unary_unary", "Unary")(b"OK", STUCK).decode(),)
        except grpc.RpcError as error:
            return (error.code().name,)

    def unary(self):
        answer, call = self.call("unary_unary", "Unary").with_call(b"hello", STUCK, (("x-asked", "so"),))
        began, ended = dict(call.initial_metadata()), dict(call.trailing_metadata())
        return answer.decode(), began["x-began"], ended["x-ended"], ended["x-bytes-bin"] == b"\x00\xff"

    def empty(self):
        return (len(self.call("unary_unary", "Unary")(b"", STUCK)),)

    def refused(self):
        try:
            self.call("unary_unary", "Unary")(b"x", STUCK, (("x-refuse", "1"),))
        except grpc.RpcError as error:
            return error.code().name, error.details(), dict(error.trailing_metadata())["x-ended"]

    def unknown(self):
        try:
            self.call("unary_unary", "Nothing")(b"x", STUCK)
        except grpc.RpcError as error:
            return (error.code().name,)

    def server_stream(self):
        messages = list(self.call("unary_stream", "ServerStream")(b"1000 2000", STUCK))
        return len(messages), all(message == bytes([number % 256]) * 2000 for number, message in enumerate(messages))

    def client_stream(self):
        return (self.call("stream_unary", "ClientStream")((b"x" * 3000 for _ in range(1000)), STUCK).decode(),)

    def both(self):
        """Each message waits for the answer to the one before: neither side has ended."""
        told, ready = [], threading.Semaphore(1)

        def messages():
            for number in range(100):
                assert ready.acquire(timeout=STUCK)
                yield f"ab{number}".encode()

        call = self.call("stream_stream", "Both")(messages(), STUCK)
        for answer in call:
            told.append(answer)
            ready.release()
        return len(told), told[99].decode(), call.code().name, dict(call.trailing_metadata())["x-ended"]

    def big(self):
        message = bytes(range(256)) * (20 << 12)
        return len(message), self.call("unary_unary", "Unary")(message, STUCK) == message

    def many(self):
        """On the one connection of the channel."""
        calls = [self.call("unary_unary", "Unary").future(str(number).encode(), STUCK) for number in range(200)]
        return (all(call.result() == str(number).encode() for number, call in enumerate(calls)),)

    def deadline(self):
        left = int(self.call("unary_unary", "Unary")(b"", 20, (("x-left", "1"),)))
        began = time.monotonic()
        try:
            self.call("unary_unary", "Unary")(b"", 0.3, (("x-sleep", "2"),))
        except grpc.RpcError as error:
            # The library rounds what it sends up.
            return 10_000 < left <= 22_000, error.code().name, time.monotonic() - began < 2

    def cancel(self):
        call = self.call("unary_stream", "Wait")(b"", STUCK)
        first = next(call)
        call.cancel()
        return first.decode(), self.call("unary_unary", "WasCancelled")(b"", STUCK).decode()


def ask(ip, port, host, authorities, *rows):
    asking = Asking(ip, port, host, authorities)
    for row in rows:
        print(row, *getattr(asking, row)(), flush=True)


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
