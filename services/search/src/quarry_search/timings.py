import time
from collections.abc import Iterator
from contextlib import contextmanager

from quarry_common.telemetry import tracing


class Timings:
    """How long each stage of one search took, in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within as that of stage `name`."""
        started = time.perf_counter()
        with tracing.span(f"search {name}"):
            try:
                yield
            finally:
                before = self.milliseconds.get(name, 0.0)
                self.milliseconds[name] = round(before + (time.perf_counter() - started) * 1000, 3)

    def total_seconds(self) -> float:
        """Return the time since the search began, and keep it as `total`."""
        seconds = time.perf_counter() - self._started
        self.milliseconds["total"] = round(seconds * 1000, 3)
        return seconds
