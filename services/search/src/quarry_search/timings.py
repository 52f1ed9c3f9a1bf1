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
        self._open: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within as that of stage `name`, and not as that of the stage around it."""
        started = time.perf_counter()
        around = self._open[-1] if self._open else None
        self._open.append(name)
        with tracing.span(f"search {name}"):
            try:
                yield
            finally:
                self._open.remove(name)
                spent = (time.perf_counter() - started) * 1000
                self._add(name, spent)
                if around is not None:
                    self._add(around, -spent)

    def total_seconds(self) -> float:
        """Return the time since the search began, and keep it as `total`."""
        seconds = time.perf_counter() - self._started
        self.milliseconds["total"] = round(seconds * 1000, 3)
        return seconds

    def _add(self, name: str, milliseconds: float) -> None:
        self.milliseconds[name] = round(self.milliseconds.get(name, 0.0) + milliseconds, 3)
