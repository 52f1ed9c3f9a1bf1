"""When collections are optimised: one at a time, when enough has changed, and not all the time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from quarry_common.errors import QuarryError
from quarry_local.vector_engine.errors import BusyError, RunGivenUpError
from quarry_local.vector_engine.optimisation.record import Report
from quarry_local.vector_engine.optimisation.run import Run
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.shards.frames import Changes

if TYPE_CHECKING:
    from quarry_local.vector_engine.collection import Collection

log = logging.getLogger(__name__)


class Optimiser:
    """Runs the optimisations of a store's collections, one at a time."""

    def __init__(self, collections: Mapping[str, Collection], settings: OptimiserSettings) -> None:
        self._collections = collections
        self._settings = settings
        self._turn = asyncio.Lock()
        self._stopping = False

    async def watch(self) -> None:
        """Look every few seconds which collections are due, and run them in turn; never returns."""
        while True:
            await asyncio.sleep(self._settings.vector_optimise_check_seconds)
            for collection in list(self._collections.values()):
                # While another's run was waited for it may have been deleted, and made anew.
                is_there = self._collections.get(collection.name) is collection
                if self._settings.vector_optimise and is_there and await self._due(collection):
                    await asyncio.wait({self.start(collection)})

    def start(self, collection: Collection) -> asyncio.Task[Report]:
        """Return the run on the collection: the one there is, or a new one.

        Raises `BusyError` while the process is stopping.
        """
        if self._stopping:
            raise BusyError("the vector engine is stopping; try again when it is back")
        record = collection.record
        if record.run is None or record.run.done():
            record.run = asyncio.create_task(self._run(collection))
        return record.run

    async def ended(self, run: asyncio.Task[Report]) -> Report:
        """Wait for a run's end, which the caller's own end does not bring about; raises `BusyError`."""
        await asyncio.wait({run})
        if run.cancelled():
            raise BusyError("the optimisation was stopped")
        return run.result()

    async def stop(self) -> None:
        """Begin no more runs, and give up the one there is."""
        self._stopping = True
        for collection in list(self._collections.values()):
            await collection.record.stop()

    async def _due(self, collection: Collection) -> bool:
        settings, record = self._settings, collection.record
        if asyncio.get_running_loop().time() < record.not_before:
            return False
        return due(settings, record.changes, (await collection.describe()).points_count)

    async def _run(self, collection: Collection) -> Report:
        async with self._turn:
            started = time.perf_counter()
            run = Run(collection, self._settings)
            log.info("optimising %s", collection.name)
            try:
                report = await run()
            except RunGivenUpError as error:
                log.warning("the optimisation of %s was given up: %s", collection.name, error)
                report = msgspec.structs.replace(run.report, result=error.reason)
            except QuarryError as error:
                log.warning("the optimisation of %s failed: %s", collection.name, error)
                report = run.report
            except Exception:
                log.exception("the optimisation of %s failed", collection.name)
                report = run.report
            seconds = time.perf_counter() - started
            report = msgspec.structs.replace(report, seconds=seconds)
            # As long a rest as the work was: optimising takes half of the time at most.
            rest = (
                seconds
                if report.result == "done"
                else max(seconds, self._settings.vector_optimise_retry_seconds)
            )
            collection.record.end(report, asyncio.get_running_loop().time() + rest)
            log.info("optimisation of %s: %s", collection.name, report)
            return report


def due(settings: OptimiserSettings, changes: Changes, points: int) -> bool:
    """Return whether so much has changed in a collection of `points` points that it is worth a run."""
    changed = max(settings.vector_optimise_changed_points, points * settings.vector_optimise_changed_share)
    deleted = max(settings.vector_optimise_deleted_points, points * settings.vector_optimise_deleted_share)
    return changes.points >= changed or changes.deleted >= deleted
