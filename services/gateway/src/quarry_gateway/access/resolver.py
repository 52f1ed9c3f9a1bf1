"""Answers of another service, believed for a time and asked for once at a time."""

import math
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


def _never() -> float:
    return math.inf


def _all(_found: object) -> bool:
    return True


class _Answer(Generic[FoundT]):
    __slots__ = ("asked_at", "found")

    def __init__(self, found: FoundT, asked_at: float) -> None:
        self.found = found
        self.asked_at = asked_at


class Resolver(Generic[IdT, FoundT]):
    """Looks things up by id with `ask`; a cache called `name`, in this process's memory alone.

    Refusals (4xx) are remembered apart, so that invented ids cannot push real ones out; other errors are not
    remembered. Callers that ask for one id at the same time share one question. What is answered is believed
    for `ttl_seconds` from when it was asked for, since it may have changed right then. It is believed for
    `TRUSTED_TIMES` as long if `unchanged_since` says that whoever answers would have told of a change: it
    returns the time from which on each change is heard of, infinity when none is. `lasting` tells the answers
    of which that is true.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[IdT], Awaitable[FoundT]],
        *,
        ttl_seconds: float,
        max_entries: int,
        unchanged_since: Callable[[], float] = _never,
        lasting: Callable[[FoundT], bool] = _all,
    ) -> None:
        self._ask = ask
        self._ttl_seconds = ttl_seconds
        self._unchanged_since = unchanged_since
        self._lasting = lasting
        self._answers: Lru[IdT, _Answer[FoundT]] = Lru(max_entries)
        self._refused: Lru[IdT, ErrorData] = Lru(max_entries)
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
        return (
            self._answers.now() < answer.asked_at + self._ttl_seconds
            or answer.asked_at >= self._unchanged_since()
        )
