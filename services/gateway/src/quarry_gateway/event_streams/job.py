"""A job's progress: `job` whenever it has changed, and at its end `end`."""

import asyncio
import time
from typing import Final

from quarry_common.contracts.jobs import GET_JOB, Job, JobRef
from quarry_common.errors import QuarryError
from quarry_gateway.domain import job_of
from quarry_gateway.event_streams.serving import Write, event, last_event_id
from quarry_gateway.gateway import Gateway

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 1.0
ASK_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
"""How long the indexer may be away before its absence is told."""

LAST_REVISION: Final = last_event_id(
    "The id of the last event that came; the present state is told only if it is another.",
    {"type": "string", "examples": ["7"]},
)


class JobEvents:
    """What there is to tell of one job, to a reader who has seen the revision `seen`, if that is one."""

    def __init__(self, gateway: Gateway, asked: JobRef, seen: str) -> None:
        self._gateway = gateway
        self._asked = asked
        self._seen = int(seen) if seen.isascii() and seen.isdecimal() and len(seen) <= 18 else None
        self._job: Job | None = None
        self._answered_at = 0.0

    async def open(self) -> None:
        """Read the job for the first time. Raises what the indexer raises: then there is no stream."""
        self._job = job_of(await self._gateway.ask(GET_JOB, self._asked))
        self._answered_at = time.monotonic()

    async def follow(self, write: Write) -> None:
        """Tell the job's states until it is over."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            job = self._job
            if job is not None and job.revision != self._seen:
                self._seen = job.revision
                pause = FIRST_PAUSE_SECONDS
                await write(event("job", job, job.revision))
            if job is not None and job.state.final:
                await write(event("end", {"state": job.state}))
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            await self._look()

    def place(self) -> str:
        """Return nothing: each event has its revision as id."""
        return ""

    async def _look(self) -> None:
        """Read the job anew. Raises when there is none any more, or the indexer has been away too long."""
        try:
            self._job = job_of(await self._gateway.ask(GET_JOB, self._asked, ASK_SECONDS))
        except QuarryError as error:
            if error.data.status < 500 or time.monotonic() - self._answered_at > PATIENCE_SECONDS:
                raise
        else:
            self._answered_at = time.monotonic()
