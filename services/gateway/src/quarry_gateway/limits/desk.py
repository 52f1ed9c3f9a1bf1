"""Where the searches of one tenant and day are let in, in the order in which they came."""

import asyncio
from collections import deque
from datetime import date
from typing import Final
from uuid import UUID

from quarry_common.errors import QuarryError, QuotaExceededError, RemoteError
from quarry_gateway.limits.holding import Holding

REFUSED_SECONDS: Final = 1.0
"""For which a refusal is believed, unless searches come back."""


class _Waiter:
    __slots__ = ("count", "limit", "turn")

    def __init__(self, count: int, limit: int, turn: "asyncio.Future[None]") -> None:
        self.count = count
        self.limit = limit
        self.turn = turn


class Desk:
    """What is held, and who waits for more. Whoever sends a message holds the `lock` meanwhile."""

    def __init__(self, tenant_id: UUID, day: date, now: float) -> None:
        self.holding = Holding(tenant_id, day, now)
        self.lock = asyncio.Lock()
        self.leasing = False
        self.failures = 0
        self.retry_at = now
        self._waiting: deque[_Waiter] = deque()
        self._needed = 0
        """What was asked for last, at least."""
        self._refused_until = float("-inf")
        self._opens_at = 0.0
        """When the quota begins anew, on the same clock."""

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost if it were forgotten."""
        return self.holding.empty and not self._waiting and not self.leasing and not self.lock.locked()

    def admits(self, count: int, limit: int, now: float) -> bool:
        """Return whether `count` searches may run at once. Raises `QuotaExceededError` just after another."""
        if self._waiting:
            return False
        if self.holding.hold(count, now):
            return True
        if now < self._refused_until and count - self.holding.free >= self._needed:
            raise _exceeded(count, limit, self._opens_at - now)
        return False

    def wait(self, count: int, limit: int) -> "asyncio.Future[None]":
        """Return what is done when `count` searches may run, or never will."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(count, limit, turn))
        return turn

    def leave(self, turn: "asyncio.Future[None]", count: int, now: float) -> None:
        """Take note that whoever waited is gone, perhaps in the moment in which it was its turn."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.finish(count, count, now)

    def serve(self, now: float) -> bool:
        """Let in whom there are searches for, first come, first served; return whether anybody waits."""
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.turn.done():
                if not self.holding.hold(waiter.count, now):
                    return True
                waiter.turn.set_result(None)
            self._waiting.popleft()
        return False

    def ask(self, now: float) -> None:
        """Make the message that asks for what the first one lacks, and at best for all who wait."""
        first = self._waiting[0]
        wanted = sum(waiter.count for waiter in self._waiting if not waiter.turn.done())
        self._needed = first.count - self.holding.free
        self.holding.lease(first.limit, wanted - self.holding.free, self._needed, now)

    def refuse(self, now: float, until_midnight: float) -> None:
        """Refuse whoever needs as many searches as there are not, or more."""
        self._refused_until, self._opens_at = now + REFUSED_SECONDS, now + until_midnight
        self.serve(now)
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if waiter.count - self.holding.free < self._needed:
                self._waiting.append(waiter)
            elif not waiter.turn.done():
                waiter.turn.set_exception(_exceeded(waiter.count, waiter.limit, until_midnight))

    def fail(self, error: QuarryError) -> None:
        """Tell all who wait that it is not known whether there are searches left."""
        for waiter in self._waiting:
            if not waiter.turn.done():
                waiter.turn.set_exception(RemoteError(error.data))
        self._waiting.clear()

    def finish(self, count: int, failed: int, now: float) -> None:
        """Take note of how searches ended; those that `failed` are for whoever waits."""
        self.holding.finish(count, failed)
        self.serve(now)


def _exceeded(count: int, limit: int, until_midnight: float) -> QuotaExceededError:
    left = "none is" if count == 1 else f"fewer than {count} are"
    return QuotaExceededError(
        f"Of the day's {limit:,} searches (`searches_per_day`) {left} left; the day ends at 00:00 UTC.",
        advice="Wait until the quota begins anew, or ask the operator for a higher one.",
        retry_after_seconds=until_midnight,
    )
