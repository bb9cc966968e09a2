"""Visits an edge over HTTP/3 by aioquic, as a browser does and as none would.

  http3.py VISIT ADDRESS PORT HOST CA [WORD…]     prints what came of it, as JSON

Visits are the functions of this file that are called so.
"""

import asyncio
import hashlib
import json
import sys
from contextlib import asynccontextmanager

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

VISIT, ADDRESS, PORT, HOST, CA, *WORDS = sys.argv[1:]

# How long one answer may take on a busy machine, and how long a flood goes on that nobody ends.
PATIENCE = 60
CANCELLED = 0x10C


class Answer:
    def __init__(self):
        self.heads, self.body = [], bytearray()
        self.done = asyncio.get_running_loop().create_future()

    @property
    def status(self):
        """Of the last head that has one."""
        return [head[":status"] for head in self.heads if ":status" in head][-1]

    @property
    def json(self):
        return json.loads(self.body)

    def told(self, name):
        """A field that the origin was sent, as origins/echo.py tells it."""
        return [value for key, value in self.json["headers"] if key.lower() == name]

    def end(self, error=None):
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(self)
            # Nobody need ask for it.
            self.done.exception()


class Visitor(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http, self.answers = H3Connection(self._quic), {}
        self.ended = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            if not self.ended.done():
                self.ended.set_result(event.error_code)
            for answer in self.answers.values():
                answer.end(ConnectionError(f"the connection ended: {event.error_code:#x} {event.reason_phrase}"))
        if isinstance(event, StreamReset) and event.stream_id in self.answers:
            self.answers[event.stream_id].end(ConnectionError(f"the stream was reset: {event.error_code:#x}"))
        for event in self.http.handle_event(event):
            answer = self.answers.get(getattr(event, "stream_id", None))
            if answer is None:
                continue
            if isinstance(event, HeadersReceived):
                answer.heads.append({name.decode(): value.decode() for name, value in event.headers})
            if isinstance(event, DataReceived):
                answer.body += event.data
            if event.stream_ended:
                answer.end()

    def open(self, method="POST", path="/", host=HOST, fields=(), ends=False):
        """Sends the head of a request; gives its stream, and its answer that is to come."""
        stream = self._quic.get_next_available_stream_id()
        answer = self.answers[stream] = Answer()
        pseudo = {":method": method, ":scheme": "https", ":authority": host, ":path": path}
        head = [(name.encode(), value.encode()) for name, value in [*pseudo.items(), *fields]]
        self.http.send_headers(stream, head, end_stream=ends)
        return stream, answer

    def begin(self, method="GET", path="/", host=HOST, fields=(), body=b"", trailers=()):
        """Sends a whole request."""
        stream, answer = self.open(method, path, host, fields, ends=not body and not trailers)
        if body:
            self.http.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self.http.send_headers(stream, list(trailers), end_stream=True)
        self.transmit()
        return stream, answer

    async def ask(self, *args, **kwargs):
        _, answer = self.begin(*args, **kwargs)
        return await asyncio.wait_for(answer.done, PATIENCE)

    async def flood(self, step):
        """Does it until the edge ends the connection; gives its code."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while not self.ended.done() and loop.time() < end:
            for _ in range(10):
                if not self.ended.done():
                    step()
            self.transmit()
            await asyncio.sleep(0.005)
        return self.ended.result() if self.ended.done() else None


def configuration(**more):
    config = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=HOST, **more)
    config.load_verify_locations(CA)
    return config


@asynccontextmanager
async def visitor(config=None, **more):
    config = config or configuration()
    async with connect(ADDRESS, int(PORT), configuration=config, create_protocol=Visitor, **more) as visitor:
        yield visitor


async def requests():
    """What all browsers do, with bodies of 10 MB."""
    async with visitor(configuration(max_data=1 << 24, max_stream_data=1 << 24)) as me:
        page = await me.ask()
        body = bytes(range(256)) * 40_960
        up = await me.ask("POST", "/up", body=body)
        down = await me.ask("GET", f"/bytes/{len(body)}")
        many = await asyncio.gather(*[me.ask(path=f"/{number}") for number in range(300)])
        return {
            "status": page.status,
            "alt-svc": page.heads[0]["alt-svc"],
            "proto": page.told("x-forwarded-proto"),
            "up": [up.json["length"], up.json["sha256"] == hashlib.sha256(body).hexdigest()],
            "down": [len(down.body), bytes(down.body) == body],
            "many": sum(answer.json["path"] == f"/{number}" for number, answer in enumerate(many)),
        }


async def trailers():
    async with visitor() as me:
        answer = await me.ask("POST", body=b"abc", fields=[("te", "trailers")], trailers=[(b"x-sum", b"6")])
        return {"body": answer.body.decode(), "trailers": answer.heads[1:]}


async def interim():
    """A body that is held back until it is asked for, and hints ahead of the answer."""
    async with visitor() as me:
        stream, answer = me.open(fields=[("expect", "100-continue")])
        me.transmit()
        while not answer.heads:
            await asyncio.sleep(0.01)
        me.http.send_data(stream, b"held back", end_stream=True)
        me.transmit()
        await asyncio.wait_for(answer.done, PATIENCE)
        heads = [[head[":status"], head.get("link")] for head in answer.heads]
        return {"heads": heads, "body": answer.body.decode()}


async def early():
    """Comes again, and asks in the first flight."""
    async def come():
        tickets, tokens = [], []
        async with visitor(session_ticket_handler=tickets.append, token_handler=tokens.append) as me:
            await me.ask()
            while not (tickets and tokens):
                await asyncio.wait_for(asyncio.sleep(0.01), PATIENCE)
        return tickets[-1], tokens[-1]

    ticket, _ = await come()
    seen = {"offered": ticket.max_early_data_size}
    for method, path, proof in [("GET", "/", ""), ("POST", "/", ""), ("GET", "/status/425", ""), ("GET", "/", " unproven")]:
        ticket, token = await come()
        # Without the token it may be anybody's address (RFC 9000 §8.1.3).
        config = configuration(session_ticket=ticket, token=b"" if proof else token)
        async with visitor(config, wait_connected=False) as me:
            answer = await me.ask(method, path)
            tls = me._quic.tls
            seen[f"{method} {path}{proof}"] = {
                "resumed": tls.session_resumed,
                "accepted": tls.early_data_accepted,
                "status": answer.status,
                "told": answer.told("early-data"),
            }
    return seen


async def elsewhere():
    """Asks for other hosts than the one that the connection was made for."""
    async with visitor() as me:
        return {host: (await me.ask(host=host)).status for host in WORDS}


async def certificate():
    """Shows a certificate, if there are words for one."""
    config = configuration()
    if WORDS:
        config.load_cert_chain(*WORDS)
    async with visitor(config) as me:
        answer = await me.ask()
        told = answer.told("bartizan-cert-status") if answer.status == "200" else []
        return {"status": answer.status, "told": told}


async def rapid_reset():
    async with visitor() as me:

        def step():
            stream, _ = me.begin()
            me._quic.reset_stream(stream, CANCELLED)
            me._quic.stop_stream(stream, CANCELLED)

        return await me.flood(step)


async def pings():
    async with visitor() as me:

        def step():
            me._quic.send_ping(0)
            # One a packet, or they would be one.
            me.transmit()

        return await me.flood(step)


async def empty_frames():
    async with visitor() as me:
        stream, _ = me.open()
        return await me.flood(lambda: me._quic.send_stream_data(stream, b"\0\0" * 20))


async def unknown_frames():
    async with visitor() as me:
        control = me.http._local_control_stream_id
        return await me.flood(lambda: me._quic.send_stream_data(control, b"\x21\0" * 20))


async def header_bombs():
    """Each is refused, and the connection goes on."""
    async with visitor() as me:
        bombs = {
            "many": [(f"x-{number}", "y") for number in range(500)],
            "large": [("x", "y" * 50_000)],
            "cookies": [("cookie", "a=" + "y" * 1_000)] * 40,
        }
        return {name: (await me.ask(fields=fields)).status for name, fields in bombs.items()}


async def one_way_streams():
    async with visitor() as me:

        def step():
            stream = me._quic.get_next_available_stream_id(is_unidirectional=True)
            me._quic.send_stream_data(stream, b"\x21x", end_stream=True)

        return await me.flood(step)


async def more_streams_than_allowed():
    async with visitor() as me:
        me._quic._remote_max_streams_bidi = 1 << 40
        return await me.flood(lambda: me.open(path="/silent"))


async def max_streams():
    """Allows the edge more and more streams, one at a time. It opens one."""
    async with visitor() as me:
        limits = [me._quic._local_max_streams_bidi, me._quic._local_max_streams_uni]

        def step():
            for limit in limits:
                # Or it would wait for more before it says so.
                limit.used = limit.sent
                limit.value += 1
            me.transmit()

        return await me.flood(step)


async def more_than_the_window():
    async with visitor() as me:
        stream = me._quic.get_next_available_stream_id()
        me._quic.send_stream_data(stream, b"")
        me._quic._remote_max_data = me._quic._streams[stream].max_stream_data_remote = 1 << 40
        # All before this is under way, for all that the edge knows.
        sender = me._quic._streams[stream].sender
        sender._buffer_start = sender._buffer_stop = 1 << 24
        me._quic.send_stream_data(stream, b"x")
        return await me.flood(lambda: None)


async def qpack():
    """Each of these ends its connection."""
    seen = {}
    for name, bytes_of in [
        ("capacity", lambda http: (http._local_encoder_stream_id, b"\x3f\xe1\x1f")),
        ("insert", lambda http: (http._local_encoder_stream_id, b"\xc0\x01x")),
        ("acknowledgement", lambda http: (http._local_decoder_stream_id, b"\x80")),
        ("increment", lambda http: (http._local_decoder_stream_id, b"\x01")),
    ]:
        async with visitor() as me:
            stream, data = bytes_of(me.http)
            me._quic.send_stream_data(stream, data)
            me.transmit()
            seen[name] = await asyncio.wait_for(asyncio.shield(me.ended), PATIENCE)
    for name, block in [("reference", b"\x02\x00\x80"), ("half", b"\x00\x00\x50"), ("index", b"\0\0\xff\xff\x7f")]:
        async with visitor() as me:
            stream = me._quic.get_next_available_stream_id()
            me._quic.send_stream_data(stream, bytes([1, len(block)]) + block, end_stream=True)
            me.transmit()
            seen[name] = await asyncio.wait_for(asyncio.shield(me.ended), PATIENCE)
    return seen


async def once():
    async with visitor() as me:
        return (await me.ask()).status


print(json.dumps(asyncio.run(globals()[VISIT]())))
