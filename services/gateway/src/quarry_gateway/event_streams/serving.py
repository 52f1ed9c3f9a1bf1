"""One stream of events as an answer: what each has, whatever it tells.

It says when nothing happens, ends when its key would not open it any more, and waits for its reader, but not
for ever: nothing is kept for a reader but what is just being sent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from uuid import UUID

import litestar.types
import msgspec
from litestar.types import Receive, Send

from quarry_common.errors import QuarryError
from quarry_gateway.access.admission import credentials_of
from quarry_gateway.domain import Caller
from quarry_gateway.gateway import Call, gateway_of
from quarry_gateway.http import problems
from quarry_gateway.http.edge import RELEASE_SLOT
from quarry_gateway.http.operations import Header

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"
RETRY_MILLISECONDS = 1000
LOOK_SECONDS = 0.2
"""How often it is looked whether the stream should end."""
HEARTBEAT_SECONDS = 15.0
CANCEL_SECONDS = 1.0
SEND_SECONDS = 30.0
"""How long a reader may take nothing of what is sent to it."""
KEY_CHECK_SECONDS = 5.0
KEY_BELIEVED_SECONDS = 15.0
"""How long a key is believed while nobody can say whether it is valid; with the wait for that answer, less
than the thirty seconds after which a revoked key has no stream any more."""
_HEADERS = [
    (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
    (b"x-accel-buffering", b"no"),  # or a proxy would hold events back until it has a page of them
]


def last_event_id(description: str, schema: dict[str, object]) -> Header:
    """Return the header with which a reader comes again, as the API's description tells of it."""
    return Header(LAST_EVENT_ID, description, schema)


Write = Callable[[str], Awaitable[None]]
"""Sends a piece of the stream; raises `TimeoutError` when the reader does not take it."""


class Source(Protocol):
    """What a stream tells."""

    async def open(self) -> None:
        """Find out where to begin. Raises what is answered instead of a stream."""

    async def follow(self, write: Write) -> None:
        """Write events until there is nothing more to tell. Raises what ends the stream with a problem."""

    def place(self) -> str:
        """Return the id after which a reader would go on who has everything that was written; or nothing."""


class EventStream:
    """A stream as an ASGI application, which `open_stream` makes. When it ends it makes room."""

    def __init__(
        self, request: Call, tenant_id: UUID, source: Source, require: Callable[[Caller], None]
    ) -> None:
        self._gateway = gateway_of(request)
        self._tenant_id = tenant_id
        self._source = source
        self._require = require
        self._request_id = str(request.scope.get("request_id", ""))
        self._credentials = credentials_of(request.headers, self._request_id)
        self._path = request.scope["path"]
        self._writing = asyncio.Lock()
        self._sent_at = self._key_checked_at = time.monotonic()

    async def __call__(self, scope: litestar.types.Scope, receive: Receive, send: Send) -> None:
        """Tell what the source tells until that is over, the reader has gone or the stream has to end."""
        scope[RELEASE_SLOT]()  # type: ignore[typeddict-item]  # the edge's own

        async def write(text: str) -> None:
            async with self._writing:
                await self._send(send, text)

        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            await write(f"retry: {RETRY_MILLISECONDS}\n\n")
            told = await self._tell(write, receive)
            if told is not None:
                await write(told)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("a reader of events did not take them", extra={"path": self._path})
        finally:
            self._gateway.streams.leave(self._tenant_id)

    async def _tell(self, write: Write, receive: Receive) -> str | None:
        """Return what the stream ends with, or None when nobody is there to be told."""
        telling = asyncio.create_task(self._source.follow(write))
        minding = asyncio.create_task(self._mind(write))
        leaving = asyncio.create_task(_gone(receive))
        tasks = [telling, minding, leaving]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(tasks)
        if leaving.done() and not leaving.cancelled():
            return None
        try:
            for task in (telling, minding):
                if not task.cancelled():
                    task.result()
        except QuarryError as error:
            return event(
                "error", problems.problem(error.data, request_id=self._request_id, instance=self._path)
            )
        return ""

    async def _send(self, send: Send, text: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        self._sent_at = time.monotonic()

    async def _mind(self, write: Write) -> None:
        """Return when the stream should end: its reader comes again, with the id of the last event."""
        until = time.monotonic() + self._gateway.settings.event_stream_seconds
        while not self._gateway.readiness.stopping and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            await self._check_key()
            if time.monotonic() - self._sent_at >= HEARTBEAT_SECONDS:
                await write(f": still there\n{self._source.place()}\n")

    async def _check_key(self) -> None:
        """Raise when the key that opened the stream would not open it any more."""
        now = time.monotonic()
        if now - self._key_checked_at < KEY_CHECK_SECONDS:
            return
        try:
            caller = await self._gateway.authenticator.authenticate(self._credentials)
        except QuarryError as error:
            if error.data.status < 500 or now - self._key_checked_at > KEY_BELIEVED_SECONDS:
                raise
            return
        self._require(caller)
        self._key_checked_at = now


async def open_stream(
    request: Call, tenant_id: UUID, source: Source, require: Callable[[Caller], None]
) -> EventStream:
    """Return the stream that tells what `source` tells. Raises when there are too many, or as `source` does.

    It counts as one of `tenant_id`. `require` raises when a caller may not read it; that of `request` may.
    """
    room = gateway_of(request).streams
    room.enter(tenant_id)
    try:
        await source.open()
    except BaseException:
        room.leave(tenant_id)
        raise
    return EventStream(request, tenant_id, source, require)


def event(name: str, data: object, event_id: object = None) -> str:
    """Return an event whose data is `data` as JSON, which has no line ends."""
    return f"event: {name}\n{identified(event_id)}data: {msgspec.json.encode(data).decode()}\n\n"


def identified(event_id: object) -> str:
    """Return the line that names an event or a place; nothing for None."""
    return "" if event_id is None else f"id: {event_id}\n"


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: `asyncio.wait_for` of Python 3.11 may swallow it."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
