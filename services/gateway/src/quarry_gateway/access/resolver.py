"""Answers of another service, believed for a time and asked for once at a time."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from quarry_common.cache.flights import Flights
from quarry_common.cache.lru import Lru
from quarry_common.cache.stats import Tally
from quarry_common.contracts.caches import CacheStats
from quarry_common.errors import ErrorData, RemoteError

IdT = TypeVar("IdT", bound=Hashable)
FoundT = TypeVar("FoundT")

REFUSED_SECONDS = 2.0
TRUSTED_TIMES = 15


def _unknown(_since: float) -> None:
    return None


def _all(_found: object) -> bool:
    return True


class _Answer(Generic[FoundT]):
    __slots__ = ("found", "right_at")

    def __init__(self, found: FoundT, right_at: float) -> None:
        self.found = found
        self.right_at = right_at
        """When it was certainly right, the last time that this was known."""


class Resolver(Generic[IdT, FoundT]):
    """Looks things up by id with `ask`; a cache called `name`, in this process's memory alone.

    Refusals (4xx) are remembered apart, so that invented ids cannot push real ones out; other errors are not
    remembered. Callers that ask for one id at the same time share one question. What is answered is believed
    for `ttl_seconds` from when it was asked for, since it may have changed right then. It is believed for
    `TRUSTED_TIMES` as long if it would have been heard of a change: `unchanged_until` returns until when
    certainly nothing has changed since a time, or None when that is not known. When it is known no more, what
    was known last counts as if it had been asked for then. `lasting` tells the answers of which that is true.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[IdT], Awaitable[FoundT]],
        *,
        ttl_seconds: float,
        max_entries: int,
        unchanged_until: Callable[[float], float | None] = _unknown,
        lasting: Callable[[FoundT], bool] = _all,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._ttl_seconds = ttl_seconds
        self._unchanged_until = unchanged_until
        self._lasting = lasting
        self._answers: Lru[IdT, _Answer[FoundT]] = Lru(max_entries, clock=clock)
        self._refused: Lru[IdT, ErrorData] = Lru(max_entries, clock=clock)
        self._flights: Flights[FoundT] = Flights()
        self._tally = Tally(name)

    async def resolve(self, identity: IdT) -> FoundT:
        """Return what `identity` stands for. Raises what `ask` raises."""
        answer = self._answers.get(identity)
        if answer is not None and self._believed(answer):
            self._tally.hit("memory")
            return answer.found
        refusal = self._refused.get(identity)
        if refusal is not None:
            self._tally.hit("memory")
            raise RemoteError(refusal)
        if self._flights.has(identity):
            self._tally.hit("flight")
        else:
            self._tally.miss()
        return await self._flights.join(identity, lambda: self._look_up(identity))

    def forget(self, matches: Callable[[FoundT], bool]) -> int:
        """Forget what was found and `matches`; return how many. What is being asked for is not kept."""
        # Whoever waits for an answer gets it; the next asks anew.
        self._flights = Flights()
        return self._answers.drop(lambda answer: matches(answer.found))

    def stats(self) -> CacheStats:
        """Return how well this process does without asking. Objects are counted, not weighed."""
        entries = len(self._answers) + len(self._refused)
        evictions = self._answers.evictions + self._refused.evictions
        memory = self._tally.memory(entries=entries, size_bytes=None, evictions=evictions)
        return self._tally.stats(memory, None, enabled=True, breaker="off")

    async def _look_up(self, identity: IdT) -> FoundT:
        flights, asked_at = self._flights, self._answers.now()
        try:
            found = await self._ask(identity)
        except RemoteError as error:
            if 400 <= error.data.status < 500:
                until = asked_at + min(REFUSED_SECONDS, self._ttl_seconds)
                self._refused.set(identity, error.data, until)
            raise
        if flights is self._flights:
            seconds = self._ttl_seconds * (TRUSTED_TIMES if self._lasting(found) else 1)
            self._answers.set(identity, _Answer(found, asked_at), asked_at + seconds)
        return found

    def _believed(self, answer: _Answer[FoundT]) -> bool:
        if self._answers.now() < answer.right_at + self._ttl_seconds:
            return True
        until = self._unchanged_until(answer.right_at)
        if until is None:
            return False
        answer.right_at = max(answer.right_at, until)
        return True
