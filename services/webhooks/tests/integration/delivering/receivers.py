"""Receivers of deliveries: HTTP servers on loopback that answer as a test tells them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

Answer = Callable[["Received"], Awaitable[web.StreamResponse]]


class Received(msgspec.Struct, frozen=True):
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """Time of the loop."""

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


async def accept(received: Received) -> web.StreamResponse:
    return web.Response(status=204)


def status(code: int, **headers: str) -> Answer:
    """Answers with a status; `_` in a header's name stands for a dash."""

    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(
            status=code, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return answer


class Receiver:
    """What came, and how the next requests are answered."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.answer: Answer = accept
        self.under_way = 0
        self.most_at_once = 0

    def ids(self) -> list[str]:
        return [each.webhook_id for each in self.received]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            before = headers.get(name.lower())
            headers[name.lower()] = value if before is None else f"{before}, {value}"
        body = await request.read()
        received = Received(request.path, headers, body, asyncio.get_running_loop().time())
        self.received.append(received)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            return await self.answer(received)
        finally:
            self.under_way -= 1


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver at work."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    try:
        yield receiver
    finally:
        await runner.cleanup()
