"""Takes jobs and lets each run under its lease: renewed while it lasts, given back when the process stops."""

import asyncio
import logging
from datetime import UTC, datetime

import asyncpg

from quarry_common.contracts.documents import JobState
from quarry_common.contracts.events import DocumentIndexingFailed, JobFailed
from quarry_common.errors import ErrorData, QuarryError
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.pool import Database
from quarry_common.telemetry import tracing
from quarry_common.telemetry.logging import bound
from quarry_indexer import SERVICE
from quarry_indexer.domain import retry
from quarry_indexer.domain.errors import LeaseLostError
from quarry_indexer.indexing.metrics import ACTIVE, JOBS
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.repository import documents, jobs, versions
from quarry_indexer.repository.jobs import Lease

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
AFTER_ERROR_SECONDS = 1.0


class Worker:
    """Works on a bounded number of jobs at a time."""

    def __init__(
        self, database: Database, pipeline: Pipeline, *, concurrency: int, lease_seconds: float
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._lease_seconds = lease_seconds
        self._slots = asyncio.Semaphore(concurrency)
        self._woken = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Say that there may be a job; a slow poll finds it otherwise."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Take jobs until `stopping` is set; then give back those in hand, to be resumed by anybody."""
        stop = asyncio.create_task(stopping.wait())
        taking = asyncio.create_task(self._take())
        try:
            await asyncio.wait({stop, taking}, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                taking.result()
        finally:
            taking.cancel()
            stop.cancel()
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=10)

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            self._woken.clear()
            lease = await self._claim()
            if lease is None:
                self._slots.release()
                await self._idle()
                continue
            task = asyncio.create_task(self._work(lease))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job was left to its lease", exc_info=error)

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _claim(self) -> Lease | None:
        try:
            async with self._database.worker_transaction() as connection:
                return await jobs.claim(connection, self._lease_seconds)
        except (QuarryError, asyncpg.PostgresError) as error:
            log.warning("no job could be claimed: %s", error)
            await asyncio.sleep(AFTER_ERROR_SECONDS)
            return None

    async def _work(self, lease: Lease) -> None:
        first = lease.attempt == 1
        headers = {"traceparent": lease.traceparent} if first and lease.traceparent else None
        with (
            bound(tenant=str(lease.tenant_id), job=str(lease.job_id)),
            ACTIVE.track_inprogress(),
            tracing.span(
                "index document",
                kind=tracing.CONSUMER,
                headers=headers,
                links=() if first else tracing.link_to(lease.traceparent),
                attributes={"document.id": str(lease.document_id), "job.attempt": lease.attempt},
            ),
        ):
            outcome = await self._run(lease)
        JOBS.labels(outcome).inc()

    async def _run(self, lease: Lease) -> str:
        try:
            retry.refuse_abandoned(lease.takeovers)
            await self._under_lease(lease)
        except LeaseLostError:
            log.info("the job is no longer this worker's")
            return "lease_lost"
        except asyncio.CancelledError:
            await asyncio.shield(self._release(lease))
            raise
        except Exception as error:  # noqa: BLE001 - the worker's edge: every job is settled
            return await self._settle(lease, error)
        return "succeeded"

    async def _under_lease(self, lease: Lease) -> None:
        """Run the job and renew its lease; when that fails the job is stopped."""
        work = asyncio.create_task(self._pipeline.run(lease))
        beat = asyncio.create_task(self._renew(lease))
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                beat.result()
        finally:
            for task in (work, beat):
                task.cancel()
            await asyncio.wait({work, beat})

    async def _renew(self, lease: Lease) -> None:
        """Return by an error alone: the lease is lost, or could not be renewed before it expired."""
        loop = asyncio.get_running_loop()
        held_until = loop.time() + self._lease_seconds
        while True:
            await asyncio.sleep(self._lease_seconds / 5)
            try:
                async with self._database.tenant_transaction(lease.tenant_id) as connection:
                    if not await jobs.renew(connection, lease, self._lease_seconds):
                        raise LeaseLostError
                held_until = loop.time() + self._lease_seconds
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("the lease could not be renewed: %s", error)
                if loop.time() > held_until:
                    raise LeaseLostError from error

    async def _settle(self, lease: Lease, error: Exception) -> str:
        age = datetime.now(UTC) - lease.created_at
        verdict = retry.judge(error, attempt=lease.attempt, failures=lease.failures, age=age)
        log.warning(
            "attempt %d failed: %s",
            lease.attempt,
            error,
            extra={"code": verdict.error.code},
            exc_info=None if isinstance(error, QuarryError) else error,
        )
        try:
            if verdict.delay_seconds is None:
                await self._fail(lease, verdict.error)
                return "failed"
            async with self._database.tenant_transaction(lease.tenant_id) as connection:
                await jobs.postpone(
                    connection, lease, verdict.error, verdict.delay_seconds, counts=verdict.counts
                )
        except (QuarryError, asyncpg.PostgresError) as lost:
            log.warning("the job is left to its lease: %s", lost)
            return "left"
        return "postponed"

    async def _fail(self, lease: Lease, error: ErrorData) -> None:
        async with self._database.tenant_transaction(lease.tenant_id) as connection:
            document = await documents.lock(connection, lease.document_id)
            if document is None or not await jobs.finish(connection, lease, JobState.FAILED, error):
                return
            await versions.set_state(connection, lease.document_id, lease.version, "failed")
            failed = JobFailed(lease.job_id, lease.document_id, lease.collection, lease.attempt, error)
            told = DocumentIndexingFailed(
                document_id=lease.document_id,
                job_id=lease.job_id,
                collection=lease.collection,
                external_id=document.external_id,
                version=lease.version,
                error=error,
            )
            await publish_event(connection, told, service=SERVICE, tenant_id=lease.tenant_id)
            await publish_event(connection, failed, service=SERVICE, tenant_id=lease.tenant_id)

    async def _release(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(5), self._database.tenant_transaction(lease.tenant_id) as connection:
                await jobs.release(connection, lease)
        except (QuarryError, asyncpg.PostgresError, TimeoutError) as error:
            log.warning("the job is left to its lease: %s", error)
