"""Jobs that one worker leads through the stages together: of one tenant, under one token."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.repository.leases import Lease

log = logging.getLogger(__name__)

TELL_SECONDS = 1.0
"""Shortest time between two events that tell how far a job is."""
Settle = Callable[[Lease, Exception], Awaitable[bool]]


class YieldedError(Exception):
    """Somebody else waits: the jobs go back to the queue as far as they are."""


class Bundle:
    """The jobs still held.

    `settle` ends or postpones one of them after an error, and returns False when it had been taken away.
    """

    def __init__(
        self, leases: Sequence[Lease], settle: Settle, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tenant_id = leases[0].tenant_id
        self.token = leases[0].token
        self.members = {lease.job_id: lease for lease in leases}
        self.lost: dict[UUID, Lease] = {}
        """Jobs that were taken away: nothing more may be written for them."""
        self.bulk = leases[0].bulk
        """Whether the jobs are part of an import."""
        self.wanted = False
        """Whether somebody else waits for the place."""
        self._settle = settle
        self._clock = clock
        # As if told at the beginning: a short job tells nothing, and one that changes hands not more often.
        self._told_at = dict.fromkeys(self.members, clock())

    @property
    def job_ids(self) -> list[UUID]:
        """Ids of the jobs still held."""
        return list(self.members)

    def keep(self, held: Iterable[UUID]) -> None:
        """Go on with those of the jobs that are `held`. Raises `LeaseLostError` when none is."""
        held = set(held)
        self.lose([job_id for job_id in self.members if job_id not in held])
        if not self.members:
            raise LeaseLostError

    def lose(self, job_ids: Iterable[UUID]) -> None:
        """Go on without jobs that were taken away."""
        taken = {job_id: self.members.pop(job_id) for job_id in job_ids if job_id in self.members}
        if taken:
            self.lost |= taken
            log.info("%d jobs are no longer this worker's", len(taken))

    def done(self, job_ids: Iterable[UUID]) -> None:
        """Go on without jobs that have ended."""
        for job_id in job_ids:
            self.members.pop(job_id, None)

    async def fail(self, lease: Lease, error: Exception) -> None:
        """Let one job end or be tried again because of an error."""
        if await self._settle(lease, error):
            self.done([lease.job_id])
        else:
            self.lose([lease.job_id])

    def take_telling(self, job_ids: Iterable[UUID]) -> set[UUID]:
        """Return those of the jobs that were told of long enough ago; they count as told of now."""
        now = self._clock()
        due = {job_id for job_id in job_ids if now - self._told_at[job_id] >= TELL_SECONDS}
        self._told_at |= dict.fromkeys(due, now)
        return due

    def make_way(self) -> None:
        """Raise `YieldedError` when somebody else waits for the place."""
        if self.wanted:
            raise YieldedError
