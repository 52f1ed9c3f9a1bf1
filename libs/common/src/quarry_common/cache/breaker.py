"""A circuit breaker (M. Nygard, Release It!): what does not answer is left alone, and tried again by one."""

import random
import time
from collections.abc import Callable
from enum import IntEnum

FAILURES = 5
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0


class State(IntEnum):
    """As the metric `cache_breaker_state` shows it."""

    CLOSED = 0
    """Calls go through."""
    HALF_OPEN = 1
    """One probe is under way; calls do not go through."""
    OPEN = 2
    """No call goes through."""


class Breaker:
    """Opens after so many failures in a row. What is told by calls begun before it opened changes nothing.

    Each probe that fails doubles the pause before the next, up to five seconds.
    """

    def __init__(self, failures: int = FAILURES, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._clock = clock
        self._in_a_row = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._probe_at = 0.0
        self.state = State.CLOSED

    def succeeded(self) -> None:
        """A call was answered."""
        if self.state is State.CLOSED:
            self._in_a_row = 0

    def failed(self) -> bool:
        """A call was not answered, or by an error; return whether that has opened the breaker."""
        if self.state is not State.CLOSED:
            return False
        self._in_a_row += 1
        if self._in_a_row < self._limit:
            return False
        self._open(FIRST_PAUSE_SECONDS)
        return True

    @property
    def pause_seconds(self) -> float:
        """Time until the next probe may begin; 0 while it may."""
        return max(0.0, self._probe_at - self._clock())

    def begin_probe(self) -> bool:
        """Return whether the caller shall probe: one at a time, and not before its time."""
        if self.state is not State.OPEN or self.pause_seconds > 0:
            return False
        self.state = State.HALF_OPEN
        return True

    def end_probe(self, *, answered: bool) -> None:
        """Close after an answer, or open again."""
        if answered:
            self.state = State.CLOSED
            self._in_a_row = 0
        else:
            self._open(min(self._pause * 2, LONGEST_PAUSE_SECONDS))

    def _open(self, pause: float) -> None:
        self.state = State.OPEN
        self._pause = pause
        # Processes that saw the same outage must not come back in the same instant.
        self._probe_at = self._clock() + pause * random.uniform(0.8, 1.0)  # noqa: S311 - no secret
