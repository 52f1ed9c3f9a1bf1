"""An endpoint that fails again and again is left alone for a while, then probed."""

import random
from datetime import datetime, timedelta

import msgspec

THRESHOLD = 5
FIRST_OPEN = timedelta(seconds=30)
LONGEST_OPEN = timedelta(minutes=10)
JITTER = 0.1
LEAST_CONCURRENCY = 1
FIRST_CONCURRENCY = 2
"""Of an endpoint that works, at the beginning: one that hangs shall not take many places."""
THROTTLING = frozenset({429, 502, 504})
WARNINGS = (0.2, 0.8)
"""Of the time after which a failing endpoint is disabled: one day and four of five."""


class Health(msgspec.Struct, frozen=True):
    """How an endpoint has done lately; times are None when there is none."""

    failures: int = 0
    """In a row."""
    until: datetime | None = None
    """No attempts before it: the circuit is open, or the endpoint asked for patience."""
    failing_since: datetime | None = None
    warned_at: datetime | None = None
    last_delivered_at: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether no attempt may be made, but forced ones."""
        return self.until is not None and now < self.until

    @property
    def is_probed(self) -> bool:
        """Whether the next attempt is the only one, until it is known how it ends."""
        return self.failures >= THRESHOLD

    def succeeded(self, now: datetime) -> "Health":
        """Return what it is after a success: closed."""
        return Health(last_delivered_at=now)

    def failed(self, now: datetime, patience: datetime | None = None) -> "Health":
        """Return what it is after a failure; `patience` is until when the endpoint asked for none.

        A failure while the circuit is open is that of an attempt begun before, or of a forced one: no news.
        """
        since = self.failing_since or now
        if self.is_open(now):
            return msgspec.structs.replace(self, until=_latest(self.until, patience), failing_since=since)
        failures = self.failures + 1
        opened = now + open_for(failures) if failures >= THRESHOLD else None
        return msgspec.structs.replace(
            self, failures=failures, until=_latest(opened, patience), failing_since=since
        )

    def given_up(self, now: datetime, after: timedelta) -> bool:
        """Whether nothing was delivered for so long that the endpoint is to be disabled."""
        return self.failing_since is not None and now - self.failing_since >= after

    def to_be_warned(self, now: datetime, after: timedelta) -> bool:
        """Whether its owner is to be told now that it fails."""
        if self.failing_since is None:
            return False
        due = [at for share in WARNINGS if (at := self.failing_since + share * after) <= now]
        return bool(due) and (self.warned_at is None or self.warned_at < due[-1])


def open_for(failures: int) -> timedelta:
    """Return how long the circuit is open after so many failures in a row: doubling, ten minutes at most."""
    doublings = min(failures - THRESHOLD, 10)
    full: timedelta = min(FIRST_OPEN * 2**doublings, LONGEST_OPEN)
    jitter: float = random.random()  # noqa: S311 - it is no secret
    return full * (1 + JITTER * jitter)


class Pace(msgspec.Struct):
    """How many attempts an endpoint gets at once: more with each success, one when it is overloaded."""

    most: int
    now: int = FIRST_CONCURRENCY

    @classmethod
    def of(cls, health: Health, most: int) -> "Pace":
        """Return the pace to begin with."""
        return cls(most, LEAST_CONCURRENCY if health.failures else min(FIRST_CONCURRENCY, most))

    def succeeded(self) -> None:
        """Allow one more."""
        self.now = min(self.now + 1, self.most)

    def failed(self, status: int | None) -> None:
        """Allow one only, when the endpoint is overloaded or does not answer at all."""
        if status is None or status in THROTTLING:
            self.now = LEAST_CONCURRENCY


def _latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)
