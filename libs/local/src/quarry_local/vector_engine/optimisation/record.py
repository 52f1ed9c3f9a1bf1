"""What is known of a collection's optimisation: its run, the runs before, what has changed since."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from quarry_local.vector_engine.shards.frames import Changes


class Report(msgspec.Struct, frozen=True):
    """How a run ended. `result` is `done`, or one word for why it was given up; times are in seconds."""

    result: str
    seconds: float = 0.0
    optimised: bool = False
    """Whether the engine library found anything to do; a copy that was only reopened is of use as well."""
    copy_seconds: float = 0.0
    open_seconds: float = 0.0
    """How long opening the copy took, in its own process."""
    swap_seconds: float = 0.0
    """How long writes waited for the last of the replay and the swap."""
    journal_writes: int = 0
    child_peak_bytes: int = 0


class Record:
    """The optimiser's notes on one collection."""

    def __init__(self, unindexed: int) -> None:
        self.changes = Changes(points=unindexed)
        """Since the last run; after a start, the points that no graph holds."""
        self.run: asyncio.Task[Report] | None = None
        self.last: Report | None = None
        self.results: Counter[str] = Counter()
        self.seconds = 0.0
        self.not_before = 0.0
        """Time of the event loop before which no run begins by itself."""

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.run is not None and not self.run.done()

    def end(self, report: Report, not_before: float) -> None:
        """Note how a run ended."""
        self.last = report
        self.results[report.result] += 1
        self.seconds += report.seconds
        self.not_before = not_before

    async def stop(self) -> None:
        """Give up the run, if there is one, and wait until nothing of it is left."""
        if self.run is not None and not self.run.done():
            self.run.cancel()
            await asyncio.wait({self.run})
