"""HTTP by hand: sends exactly the given bytes, which no proper client would, and reads what comes back."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import h11

SECONDS = 30.0
Headers = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class NoAnswerError(Exception):
    """The server closed the connection without saying anything."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where the API is."""

    address: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    async def send(
        self,
        data: bytes | AsyncIterable[bytes],
        *,
        method: str = "GET",
        half_close: bool = False,
        seconds: float = SECONDS,
    ) -> Answer:
        """Send `data` over a connection of its own and return the first answer that is no 1xx.

        `method` is what the server will have understood. Raises `NoAnswerError` when there is none, and
        `h11.RemoteProtocolError` when it is no HTTP.
        """
        async with asyncio.timeout(seconds), connected(self) as (reader, writer):
            sending = asyncio.create_task(_write(writer, data, half_close=half_close))
            try:
                return await read_answer(reader, method)
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await sending


@asynccontextmanager
async def connected(host: Host) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a connection; afterwards it is closed."""
    reader, writer = await asyncio.open_connection(host.address, host.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _write(
    writer: asyncio.StreamWriter, data: bytes | AsyncIterable[bytes], *, half_close: bool
) -> None:
    # A server may answer and close before it has read everything.
    with suppress(ConnectionError):
        if isinstance(data, bytes):
            writer.write(data)
            await writer.drain()
        else:
            async for piece in data:
                writer.write(piece)
                await writer.drain()
        if half_close:
            writer.write_eof()


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    """Read one answer to a request with `method`; of a live stream, its beginning."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    http.send(h11.Request(method=method if method.isalpha() else "GET", target="/", headers=[("host", "-")]))
    http.send(h11.EndOfMessage())
    status, headers, body, anything = 0, {}, bytearray(), False
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                received = await reader.read(1 << 16)
            except ConnectionError:
                received = b""
            if not received and not anything:
                raise NoAnswerError
            anything = True
            http.receive_data(received)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if headers.get("content-type", "").startswith("text/event-stream") and b"\nid: " in body:
                return Answer(status, headers, bytes(body))  # a live stream, which has no end
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, bytes(body))


def request(
    method: str,
    target: str | bytes,
    headers: Headers | None = None,
    body: bytes = b"",
    *,
    version: str = "HTTP/1.1",
    length: int | str | None = None,
) -> bytes:
    """Return a request as bytes; nothing is checked or escaped.

    `Content-Length` is the body's unless `length` or a header says another thing.
    """
    raw_target = target if isinstance(target, bytes) else target.encode()
    lines = [method.encode() + b" " + raw_target + b" " + version.encode()]
    given = {name.lower(): value for name, value in (headers or {}).items()}
    lines += [b"host: quarry.test"] if "host" not in given else []
    lines += [
        name.encode() + b": " + (value if isinstance(value, bytes) else value.encode())
        for name, value in given.items()
    ]
    if length is not None or (body and not {"content-length", "transfer-encoding"} & set(given)):
        lines.append(f"content-length: {len(body) if length is None else length}".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
