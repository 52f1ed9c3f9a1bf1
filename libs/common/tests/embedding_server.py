"""An endpoint that speaks OpenAI's embeddings API and misbehaves when told to, on loopback.

    async with running_embedding_server() as server:
        server.script.append(answer(429, headers={"Retry-After": "1"}))

Each request takes the next of `script`; without one it is answered as it should be. `rule` is asked before
that and may answer by what is in the request. Vectors depend on nothing but the text.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quarry_common.embedding.protocol import Vectors

DIMENSIONS = 8
MODEL = "test-model"

Script = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """One request, as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    at: float

    @property
    def texts(self) -> list[str]:
        return list(self.body["input"])


@dataclass
class EmbeddingServer:
    """The state of a running server."""

    url: str = ""
    dimensions: int = DIMENSIONS
    script: deque[Script] = field(default_factory=deque)
    rule: Callable[[Request], Script | None] = lambda request: None
    requests: list[Request] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    """Every text that a vector was given for."""
    open_requests: int = 0
    most_open_requests: int = 0

    async def respond(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if (script := self.rule(request)) is not None:
            await script(request, writer)
        elif self.script:
            await self.script.popleft()(request, writer)
        else:
            await embedded(self)(request, writer)


def vectors_of(texts: Sequence[str], dimensions: int = DIMENSIONS) -> Vectors:
    """Return the vectors of length 1 that the server's own come to."""
    rows = np.array([raw_vector(text, dimensions) for text in texts])
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def raw_vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return [float(number) for number in np.random.default_rng(seed).normal(scale=3.0, size=dimensions)]


def entries_of(request: Request, dimensions: int = DIMENSIONS) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": index, "embedding": raw_vector(text, dimensions)}
        for index, text in enumerate(request.texts)
    ]


def embedded(server: EmbeddingServer) -> Script:
    """The right answer."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        server.embedded += request.texts
        entries = entries_of(request, int(request.body.get("dimensions", server.dimensions)))
        await listed(entries)(request, writer)

    return script


def listed(entries: list[dict[str, Any]]) -> Script:
    """An answer of status 200 with these vectors."""
    return answer(200, {"object": "list", "data": entries, "model": MODEL})


def changed(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Script:
    """The right vectors, changed."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await listed(change(entries_of(request)))(request, writer)

    return script


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Script:
    """An answer of any status, its body as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await send(writer, status, content, headers)

    return script


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Script:
    """An error in OpenAI's form."""
    return answer(status, {"error": {"message": message, "type": "error", "code": None}}, headers)


def after(ready: asyncio.Event, script: Script) -> Script:
    """`script`, once `ready` is set."""

    async def wait(request: Request, writer: asyncio.StreamWriter) -> None:
        await ready.wait()
        await script(request, writer)

    return wait


async def broken_off(request: Request, writer: asyncio.StreamWriter) -> None:
    """Half an answer, then the end of the connection."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"data": [')
    await writer.drain()
    writer.close()


async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
    """An answer that does not end before the connection does."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def send(
    writer: asyncio.StreamWriter, status: int, content: bytes, headers: Mapping[str, str] | None = None
) -> None:
    lines = [f"HTTP/1.1 {status} Status", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    await writer.drain()


@asynccontextmanager
async def running_embedding_server() -> AsyncIterator[EmbeddingServer]:
    """Yield a server on a free port of loopback; `url` is what EMBEDDER_URL takes."""
    server = EmbeddingServer()
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            while not writer.is_closing() and (request := await _read(reader)) is not None:
                server.requests.append(request)
                server.open_requests += 1
                server.most_open_requests = max(server.most_open_requests, server.open_requests)
                try:
                    await server.respond(request, writer)
                finally:
                    server.open_requests -= 1
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client went, or the test is over
        finally:
            connections.discard(task)
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        listening.close()
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(first.split()[1], headers, json.loads(body), asyncio.get_running_loop().time())
