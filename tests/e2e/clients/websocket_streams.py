"""A WebSocket on a stream of HTTP/2 (RFC 8441) or HTTP/3 (RFC 9220), by libraries that share nothing with the edge.

  websocket_streams.py http2|http3 ADDRESS PORT HOST PATH CA     lines on standard input are messages

Prints the status of the handshake and the protocol that was agreed on, then for each line what comes back: the text; of a
line `#N` the length of as many octets, and whether they are the same; of `~N` the same, sent an octet at a time in frames
of their own; of `?` that a ping was answered. Ends with a close and prints the code that comes back, and how the stream ends.
"""

import asyncio
import os
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection, Setting
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived as Data
from h2.events import RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

VERSION, ADDRESS, PORT, HOST, PATH, CA = sys.argv[1:]
PATIENCE = 60

HEAD = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":authority", HOST),
    (":path", PATH),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "echo"),
]


class Http2:
    async def open(self):
        context = ssl.create_default_context(cafile=CA)
        context.set_alpn_protocols(["h2"])
        streams = asyncio.open_connection(ADDRESS, int(PORT), ssl=context, server_hostname=HOST)
        self.reader, self.writer = await streams
        self.http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http.initiate_connection()
        self.heard, self.status, self.fields, self.allowed = asyncio.Queue(), None, {}, False
        self.reading = asyncio.create_task(self.read())
        await self.flush()
        # Nobody may ask before (RFC 8441 section 3).
        while not self.allowed:
            await asyncio.sleep(0.01)
        self.http.send_headers(1, HEAD)
        await self.flush()
        while self.status is None:
            await asyncio.sleep(0.01)

    async def flush(self):
        self.writer.write(self.http.data_to_send())
        await self.writer.drain()

    async def read(self):
        while data := await self.reader.read(65536):
            for event in self.http.receive_data(data):
                if isinstance(event, RemoteSettingsChanged):
                    changed = event.changed_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL)
                    self.allowed |= changed is not None and changed.new_value == 1
                elif isinstance(event, ResponseReceived):
                    self.fields = dict(event.headers)
                    self.status = self.fields[":status"]
                elif isinstance(event, Data):
                    self.http.acknowledge_received_data(event.flow_controlled_length, 1)
                    self.heard.put_nowait(event.data)
                elif isinstance(event, StreamEnded):
                    self.heard.put_nowait(b"")
                elif isinstance(event, StreamReset):
                    self.heard.put_nowait(None)
            await self.flush()

    async def say(self, data, ends=False):
        while data:
            room = min(self.http.local_flow_control_window(1), self.http.max_outbound_frame_size)
            piece, data = data[:room], data[room:]
            if piece:
                self.http.send_data(1, piece)
                await self.flush()
            else:
                await asyncio.sleep(0.01)
        if ends:
            self.http.end_stream(1)
            await self.flush()

    async def close(self):
        self.reading.cancel()
        self.writer.close()


class Protocol(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.heard, self.status, self.fields = asyncio.Queue(), None, {}

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            if isinstance(event, HeadersReceived):
                self.fields = {name.decode(): value.decode() for name, value in event.headers}
                self.status = self.fields[":status"]
            if isinstance(event, DataReceived) and event.data:
                self.heard.put_nowait(event.data)
            if getattr(event, "stream_ended", False):
                self.heard.put_nowait(b"")


class Http3:
    async def open(self):
        config = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=HOST)
        config.load_verify_locations(CA)
        self.connecting = connect(ADDRESS, int(PORT), configuration=config, create_protocol=Protocol)
        self.protocol = await self.connecting.__aenter__()
        self.heard = self.protocol.heard
        while not self.protocol.http.received_settings:
            await asyncio.sleep(0.01)
        assert self.protocol.http.received_settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1
        self.stream = self.protocol._quic.get_next_available_stream_id()
        head = [(name.encode(), value.encode()) for name, value in HEAD]
        self.protocol.http.send_headers(self.stream, head)
        self.protocol.transmit()
        while self.protocol.status is None:
            await asyncio.sleep(0.01)

    status = property(lambda self: self.protocol.status)
    fields = property(lambda self: self.protocol.fields)

    async def say(self, data, ends=False):
        self.protocol.http.send_data(self.stream, data, end_stream=ends)
        self.protocol.transmit()

    async def close(self):
        await self.connecting.__aexit__(None, None, None)


async def talk():
    way = {"http2": Http2, "http3": Http3}[VERSION]()
    await way.open()
    print(way.status, way.fields.get("sec-websocket-protocol"))
    if way.status != "200":
        return await way.close()
    socket = Connection(ConnectionType.CLIENT)

    async def hear():
        """The next message, whole."""
        whole = None
        while True:
            for event in socket.events():
                if not isinstance(event, (BytesMessage, TextMessage)):
                    return event
                whole = event.data if whole is None else whole + event.data
                if event.message_finished:
                    return whole
            data = await way.heard.get()
            socket.receive_data(data or None)

    for line in sys.stdin.read().splitlines():
        if line.startswith(("#", "~")):
            sent = os.urandom(int(line[1:]))
            data = socket.send(BytesMessage(sent))
            for piece in [data] if line.startswith("#") else [bytes([byte]) for byte in data]:
                await way.say(piece)
            heard = await hear()
            print(len(heard), "same" if heard == sent else "different")
        elif line == "?":
            await way.say(socket.send(Ping(b"there")))
            heard = await hear()
            print("pong" if isinstance(heard, Pong) and bytes(heard.payload) == b"there" else heard)
        else:
            await way.say(socket.send(TextMessage(line)))
            print(await hear())
    await way.say(socket.send(CloseConnection(1000)))
    print("closed", (await hear()).code)
    await way.say(b"", ends=True)
    # What the origin has closed ends the stream.
    last = await way.heard.get()
    print("reset" if last is None else "end" if last == b"" else last)
    await way.close()


asyncio.run(asyncio.wait_for(talk(), PATIENCE))
