"""An origin that reads each upload to its end, and answers then. Its word is `ip port`."""
import asyncio
import sys


class Sink(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(1 << 20)
        self.head = b""
        self.left = 0

    def get_buffer(self, _hint):
        return self.buffer

    def buffer_updated(self, count):
        if self.left == 0:
            self.head += self.buffer[:count]
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.left, count, self.head = int(length.split(b":")[1]), len(rest), b""
        self.left -= count
        if self.left == 0:
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def main():
    server = await asyncio.get_running_loop().create_server(Sink, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()


asyncio.run(main())
