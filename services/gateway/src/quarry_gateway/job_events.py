"""A job's progress as server-sent events (WHATWG HTML, section 9.2): `job`, and at its end `end`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import litestar.types
import msgspec
from litestar.types import Receive, Send

from quarry_common.contracts.jobs import GET_JOB, Job, JobRef
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import NotFoundError, QuarryError
from quarry_gateway import problems
from quarry_gateway.access import credentials_of
from quarry_gateway.domain import job_of, require_scope
from quarry_gateway.edge import RELEASE_SLOT
from quarry_gateway.gateway import Call, gateway_of
from quarry_gateway.operations import Header

MEDIA_TYPE: Final = "text/event-stream"
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 1.0
ASK_SECONDS = 5.0
HEARTBEAT_SECONDS = 15.0
PATIENCE_SECONDS = 60.0
"""How long the indexer may be away before its absence is told."""
KEY_CHECK_SECONDS = 5.0
KEY_BELIEVED_SECONDS = 15.0
"""How long a key is believed while nobody can say whether it is valid; with the wait for that answer, less
than the thirty seconds after which a revoked key has no stream any more."""
RETRY_MILLISECONDS = 1000
_HEADERS = [
    (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
    (b"x-accel-buffering", b"no"),  # or a proxy would hold events back until it has a page of them
]

LAST_EVENT_ID: Final = Header(
    "Last-Event-ID",
    "The id of the last event that came; the present state is told only if it is another.",
    {"type": "string", "examples": ["7"]},
)


class JobEvents:
    """One stream as an ASGI application; the caller has entered `gateway.streams`, it leaves them."""

    def __init__(self, request: Call, job_id: UUID) -> None:
        self._gateway = gateway_of(request)
        self._tenant_id = request.auth.tenant_id
        self._asked = JobRef(self._tenant_id, job_id)
        self._credentials = credentials_of(request.headers, str(request.scope.get("request_id", "")))
        self._request_id = str(request.scope.get("request_id", ""))
        self._path = request.scope["path"]
        seen = request.headers.get(LAST_EVENT_ID.name, "")
        self._seen = int(seen) if seen.isascii() and seen.isdecimal() and len(seen) <= 18 else None
        self._job: Job | None = None
        self._answered_at = self._key_checked_at = self._sent_at = time.monotonic()

    async def open(self) -> None:
        """Read the job for the first time. Raises what the indexer raises: then there is no stream."""
        self._job = job_of(await self._gateway.ask(GET_JOB, self._asked))

    async def __call__(
        self,
        scope: litestar.types.Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Tell the job's states until it is over, the client has gone or the gateway stops."""
        scope[RELEASE_SLOT]()  # type: ignore[typeddict-item]  # the edge's own
        tasks = [asyncio.create_task(self._tell(send)), asyncio.create_task(_gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        finally:
            self._gateway.streams.leave()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _tell(self, send: Send) -> None:
        async def write(text: str) -> None:
            self._sent_at = time.monotonic()
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await write(f"retry: {RETRY_MILLISECONDS}\n\n")
        try:
            await self._follow(write)
        except QuarryError as error:
            told = problems.problem(error.data, request_id=self._request_id, instance=self._path)
            await write(event("error", told))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, write: Callable[[str], Awaitable[None]]) -> None:
        until = time.monotonic() + self._gateway.settings.event_stream_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            job = self._job
            if job is not None and job.revision != self._seen:
                self._seen = job.revision
                pause = FIRST_PAUSE_SECONDS
                await write(event("job", job, event_id=job.revision))
            if job is not None and job.state.final:
                await write(event("end", {"state": job.state}))
                return
            if self._gateway.readiness.stopping or time.monotonic() > until:
                return  # its reader comes again, with the id of the last event
            if time.monotonic() - self._sent_at >= HEARTBEAT_SECONDS:
                await write(": still there\n\n")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            await self._check_key()
            await self._look()

    async def _look(self) -> None:
        """Read the job anew. Raises when there is none any more, or the indexer has been away too long."""
        try:
            self._job = job_of(await self._gateway.ask(GET_JOB, self._asked, ASK_SECONDS))
        except QuarryError as error:
            if error.data.status < 500 or time.monotonic() - self._answered_at > PATIENCE_SECONDS:
                raise
        else:
            self._answered_at = time.monotonic()

    async def _check_key(self) -> None:
        """Raise when the key that opened the stream would not open it any more."""
        now = time.monotonic()
        if now - self._key_checked_at < KEY_CHECK_SECONDS:
            return
        authenticator = self._gateway.authenticator
        try:
            caller = await authenticator.authenticate(self._credentials)
        except QuarryError as error:
            if error.data.status < 500 or now - self._key_checked_at > KEY_BELIEVED_SECONDS:
                raise
            return
        require_scope(caller, Scope.DOCUMENTS_READ)
        if caller.tenant != self._tenant_id:
            raise NotFoundError("There is no such job.")
        self._key_checked_at = now


def event(name: str, data: object, *, event_id: int | None = None) -> str:
    """Return an event whose data is `data` as JSON, which has no line ends."""
    identified = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{identified}data: {msgspec.json.encode(data).decode()}\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
