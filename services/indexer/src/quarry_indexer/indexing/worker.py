"""Takes jobs and lets them run under their leases: renewed while they last, given back when it stops.

Fairness: a tenant has at most half of the places, so that there is one for the next; when all are taken and
yet another waits, a tenant that has most makes way at the end of a batch. So does an import for a document of
the same tenant that somebody waits for.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import asyncpg

from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.postgres.pool import Database
from quarry_common.telemetry import tracing
from quarry_common.telemetry.logging import bound
from quarry_indexer.domain import retry
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.indexing.bundle import Bundle, YieldedError
from quarry_indexer.indexing.metrics import ACTIVE, JOBS
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.indexing.settlement import Settlement
from quarry_indexer.repository import claims, leases
from quarry_indexer.repository.leases import Lease

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
AFTER_ERROR_SECONDS = 1.0
LONGEST_BEAT_SECONDS = 2.0
ROOM_SECONDS = 0.5


class Worker:
    """Works on a bounded number of bundles at a time. With `fair` off tenants are served as they come."""

    def __init__(
        self,
        database: Database,
        pipeline: Pipeline,
        *,
        concurrency: int,
        lease_seconds: float,
        fair: bool = True,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._settlement = Settlement(database)
        self._lease_seconds = lease_seconds
        self._slots = asyncio.Semaphore(concurrency)
        self._cap = max(1, concurrency // 2) if fair else concurrency
        self._fair = fair
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], Bundle] = {}

    def wake(self) -> None:
        """Say that there may be a job; a slow poll finds it otherwise."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Take jobs until `stopping` is set; then give back those in hand, to be resumed by anybody."""
        parts = [
            asyncio.create_task(stopping.wait()),
            asyncio.create_task(self._take()),
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._make_room()),
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for task in [*parts[1:2], *self._running]:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=10)
            for part in parts:
                part.cancel()

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            self._woken.clear()
            claimed = await self._claim()
            if not claimed:
                self._slots.release()
                await self._idle()
                continue
            bundle = Bundle(claimed, self._settlement.settle)
            task = asyncio.create_task(self._work(bundle))
            self._running[task] = bundle
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._slots.release()
        self._woken.set()  # a tenant that had all it may have may have another
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("jobs were left to their leases", exc_info=error)

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _claim(self) -> list[Lease]:
        held = Counter(bundle.tenant_id for bundle in self._running.values())
        full = [tenant_id for tenant_id, count in held.items() if count >= self._cap]
        try:
            async with self._database.worker_transaction() as connection:
                return await claims.claim(
                    connection, self._lease_seconds, passed_over=full, worker=self._name, fair=self._fair
                )
        except (QuarryError, asyncpg.PostgresError) as error:
            log.warning("no job could be claimed: %s", error)
            await asyncio.sleep(AFTER_ERROR_SECONDS)
            return []

    async def _make_room(self) -> None:
        """Ask one bundle at a time to make way: for another tenant when every place is taken, for a document
        that somebody waits for when imports have all places of its tenant."""
        while True:
            await asyncio.sleep(ROOM_SECONDS)
            running = list(self._running.values())
            if not self._fair or not running or any(bundle.wanted for bundle in running):
                continue
            try:
                if (chosen := await self._to_make_way(running)) is not None:
                    chosen.wanted = True
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("nobody could be asked to make way: %s", error)

    async def _to_make_way(self, running: Sequence[Bundle]) -> Bundle | None:
        held = Counter(bundle.tenant_id for bundle in running)
        imports = {
            bundle.tenant_id: bundle
            for bundle in running
            if bundle.bulk and held[bundle.tenant_id] >= self._cap
        }
        if not imports and not self._slots.locked():
            return None
        async with self._database.worker_transaction() as connection:
            if imports and (hurried := await claims.hurried(connection, imports)):
                return imports[hurried.pop()]
            if self._slots.locked() and await claims.others_wait(connection, list(held)):
                return max(running, key=lambda bundle: held[bundle.tenant_id])
        return None

    async def _beat(self) -> None:
        """Renew the leases of all jobs in hand; stop those that were taken away."""
        loop = asyncio.get_running_loop()
        pause = min(self._lease_seconds / 5, LONGEST_BEAT_SECONDS)
        renewed = loop.time()
        while True:
            await asyncio.sleep(pause)
            tokens = {job_id: bundle.token for bundle in self._running.values() for job_id in bundle.members}
            try:
                held = await self._renew(tokens)
                renewed = loop.time()
            except (QuarryError, asyncpg.PostgresError, TimeoutError) as error:
                log.warning("the leases could not be renewed: %s", error)
                if loop.time() < renewed + self._lease_seconds:
                    continue
                held = set()
            for task, bundle in list(self._running.items()):
                gone = [job for job in bundle.members if job in tokens and job not in held]
                bundle.lose(gone)
                if gone and not bundle.members:
                    task.cancel()

    async def _renew(self, tokens: dict[UUID, UUID]) -> set[UUID]:
        if not tokens:
            return set()
        async with (
            asyncio.timeout(self._lease_seconds / 2),
            self._database.worker_transaction() as connection,
        ):
            return await leases.renew(connection, tokens, self._lease_seconds)

    async def _work(self, bundle: Bundle) -> None:
        with (
            bound(tenant=str(bundle.tenant_id), job=",".join(map(str, bundle.members))[:200]),
            ACTIVE.track_inprogress(),
            _traced(bundle),
        ):
            await self._run(bundle)

    async def _run(self, bundle: Bundle) -> None:
        try:
            await self._refuse_abandoned(bundle)
            if bundle.members:
                await self._pipeline.run(bundle)
        except LeaseLostError:
            pass
        except YieldedError:
            JOBS.labels("yielded").inc(len(bundle.members))
            await self._settlement.release(bundle, "made way for others", counts=False)
        except asyncio.CancelledError:
            if bundle.members or not bundle.lost:
                await asyncio.shield(
                    self._settlement.release(bundle, "given back: the worker stops", counts=True)
                )
                raise
            _uncancel()
        except Exception as error:  # noqa: BLE001 - the worker's edge: every job is settled
            await self._settle_all(bundle, error)
        if bundle.lost:
            JOBS.labels("lease_lost").inc(len(bundle.lost))
            await self._clean_up(bundle)

    async def _refuse_abandoned(self, bundle: Bundle) -> None:
        for lease in list(bundle.members.values()):
            try:
                retry.refuse_abandoned(lease.takeovers)
            except QuarryError as error:
                await bundle.fail(lease, error)

    async def _settle_all(self, bundle: Bundle, error: Exception) -> None:
        """End or postpone what stands; of several documents it is not known whose fault it is."""
        if len(bundle.members) > 1 and not isinstance(error, UnavailableError | OSError):
            log.warning("jobs are tried again one by one: %s", error, exc_info=error)
            JOBS.labels("parted").inc(len(bundle.members))
            await self._settlement.release(bundle, f"tried again by itself: {error}"[:500], counts=True)
            return
        for lease in list(bundle.members.values()):
            await bundle.fail(lease, error)

    async def _clean_up(self, bundle: Bundle) -> None:
        try:
            await self._pipeline.clean_up(list(bundle.lost.values()))
        except (QuarryError, asyncpg.PostgresError) as error:
            log.warning("what was written is left to the sweep: %s", error)


@contextmanager
def _traced(bundle: Bundle) -> Iterator[None]:
    """A job's first attempt belongs to its upload's trace; others, and several at once, point to theirs."""
    members = list(bundle.members.values())
    one = members[0] if len(members) == 1 and members[0].attempt == 1 else None
    with tracing.span(
        "index document" if len(members) == 1 else "index documents",
        kind=tracing.CONSUMER,
        headers={"traceparent": one.traceparent} if one and one.traceparent else None,
        links=() if one else [link for each in members for link in tracing.link_to(each.traceparent)],
        attributes={
            "document.id": str(members[0].document_id),
            "document.count": len(members),
            "job.attempt": members[0].attempt,
        },
    ):
        yield


def _uncancel() -> None:
    """Go on after a cancellation that this worker asked for itself."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
