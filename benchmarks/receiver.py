"""A receiver of webhooks that answers at once: `python -m benchmarks.receiver PORT`.

What is sent to `/never` is not answered. `GET /count` answers how many came, `GET /first` when each event
came first, in seconds since 1970.
"""

import asyncio
import json
import sys
import time

import uvloop

LENGTH = b"content-length:"
EVENT = b"webhook-id:"
HANG_SECONDS = 3_600.0


class Receiver:
    """What came so far."""

    def __init__(self) -> None:
        self.count = 0
        self.first: dict[str, float] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length, event = 0, ""
        for line in head.split(b"\r\n"):
            name = line.lower()
            if name.startswith(LENGTH):
                length = int(name[len(LENGTH) :])
            elif name.startswith(EVENT):
                event = name[len(EVENT) :].strip().decode()
        if length:
            await reader.readexactly(length)
        if head.startswith(b"GET"):
            body = json.dumps(self.first if head.startswith(b"GET /first") else self.count).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            return
        if head.startswith(b"POST /never"):
            await asyncio.sleep(HANG_SECONDS)
        self.count += 1
        self.first.setdefault(event, time.time())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def main() -> None:
    server = await asyncio.start_server(Receiver().serve, "127.0.0.1", int(sys.argv[1]), backlog=4_096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
