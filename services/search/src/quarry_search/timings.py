"""What a search's time goes into."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from quarry_common.telemetry import tracing


class Timings:
    """How long each stage of one search took, in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._started = time.perf_counter()
        self._open: dict[str, float] = {}
        """When each stage that is not over began, in that order."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within as that of stage `name`, and not as that of the stage that waits for it."""
        started = self._open[name] = time.perf_counter()
        with tracing.span(f"search {name}"):
            try:
                yield
            finally:
                del self._open[name]
                now = time.perf_counter()
                self._add(name, (now - started) * 1000)
                if self._open:
                    waiting, since = list(self._open.items())[-1]
                    self._add(waiting, (max(started, since) - now) * 1000)

    def total_seconds(self) -> float:
        """Return the time since the search began, and keep it as `total`."""
        seconds = time.perf_counter() - self._started
        self.milliseconds["total"] = round(seconds * 1000, 3)
        return seconds

    def _add(self, name: str, milliseconds: float) -> None:
        self.milliseconds[name] = round(self.milliseconds.get(name, 0.0) + milliseconds, 3)
