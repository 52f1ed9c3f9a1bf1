"""Follows many jobs to their end with few requests."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar
from uuid import UUID

from quarry_client.cli.paging import PAGE_SIZE, take
from quarry_client.client import Client
from quarry_client.errors import ApiError
from quarry_client.types import Job

K = TypeVar("K")

_NEWEST: Final = 1000
"""How many of the newest jobs are read in bulk in one round."""
_ONE_BY_ONE: Final = 20
"""How many jobs are read singly in one round: the oldest, which end first."""
_LONGEST_PAUSE_SECONDS: Final = 2.0


def progress_of(job: Job) -> tuple[str, int]:
    """Return what changes when a job moves."""
    return f"{job.state}/{job.stage}/{job.attempt}", job.chunks_done


class JobTracker(Generic[K]):
    """Remembers which jobs are awaited, and for what."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._awaited: dict[UUID, list[K]] = {}
        self._progress: dict[UUID, tuple[str, int]] = {}
        self._moved_at = clock()
        self._pause_seconds = 0.0
        self._next_round_at = clock()

    def __len__(self) -> int:
        return sum(map(len, self._awaited.values()))

    def add(self, job_id: UUID, key: K) -> None:
        """Await the job for `key`; several keys may await one job."""
        self._awaited.setdefault(job_id, []).append(key)
        self._moved_at = self._clock()

    def remaining(self) -> list[K]:
        """Return the keys that are still awaited."""
        return [key for keys in self._awaited.values() for key in keys]

    @property
    def idle_seconds(self) -> float:
        """How long no awaited job has moved."""
        return self._clock() - self._moved_at

    @property
    def pause_seconds(self) -> float:
        """How long to wait until the next round is due."""
        return max(0.0, self._next_round_at - self._clock())

    def poll(self, pause_seconds: float) -> Iterator[tuple[K, Job | None]]:
        """If a round is due, yield what has ended; None for a job that is not kept any more.

        The next round is due after `pause_seconds`, and later and later while no job moves.
        """
        if not self._awaited or self.pause_seconds > 0:
            return
        moved_before = self._moved_at
        for job_id, job in self._ended():
            self._progress.pop(job_id, None)
            self._moved_at = self._clock()
            for key in self._awaited.pop(job_id):
                yield key, job
        moved = self._moved_at != moved_before
        longer = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
        self._pause_seconds = pause_seconds if moved else max(pause_seconds, longer)
        self._next_round_at = self._clock() + self._pause_seconds

    def _ended(self) -> Iterator[tuple[UUID, Job | None]]:
        seen: set[UUID] = set()
        if len(self._awaited) > _ONE_BY_ONE:
            for job in self._newest():
                if job.id in self._awaited:
                    seen.add(job.id)
                    yield from self._if_ended(job)
        oldest = [job_id for job_id in self._awaited if job_id not in seen][:_ONE_BY_ONE]
        for job_id in oldest:
            read = self._read(job_id)
            if read is None:
                yield job_id, None
            else:
                yield from self._if_ended(read)

    def _newest(self) -> Iterable[Job]:
        def fetch(limit: int, cursor: str | None) -> tuple[list[Job], str | None]:
            page = self._client.list_jobs(limit=limit, cursor=cursor)
            return page.jobs, page.next_cursor

        awaited_pages = -(-len(self._awaited) // PAGE_SIZE)
        return take(min(_NEWEST, awaited_pages * PAGE_SIZE), fetch)

    def _read(self, job_id: UUID) -> Job | None:
        try:
            return self._client.get_job(job_id)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _if_ended(self, job: Job) -> Iterator[tuple[UUID, Job]]:
        if job.final:
            yield job.id, job
            return
        progress = progress_of(job)
        if self._progress.get(job.id) != progress:
            self._progress[job.id] = progress
            self._moved_at = self._clock()
