"""How a worker lets go of jobs that did not succeed: failed, postponed, or given back."""

import asyncio
import logging
from datetime import UTC, datetime

import asyncpg

from quarry_common.contracts.events import DocumentIndexingFailed, JobFailed
from quarry_common.contracts.jobs import JobState
from quarry_common.errors import ErrorData, QuarryError
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Database
from quarry_indexer import SERVICE
from quarry_indexer.domain import retry
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.metrics import JOBS
from quarry_indexer.repository import documents, leases, versions
from quarry_indexer.repository.leases import Lease

log = logging.getLogger(__name__)


class Settlement:
    """Writes what becomes of jobs after an error."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settle(self, lease: Lease, error: Exception) -> bool:
        """End a job after `error`, or let it be tried again; return False when it was taken away meanwhile.

        Without a database it is left to its lease.
        """
        age = datetime.now(UTC) - lease.created_at
        verdict = retry.judge(
            error, attempt=lease.attempt, failures=lease.failures, alone=lease.alone, age=age
        )
        log.warning(
            "attempt %d failed: %s",
            lease.attempt,
            error,
            extra={"code": verdict.error.code, "document": str(lease.document_id)},
            exc_info=None if isinstance(error, QuarryError) else error,
        )
        try:
            if verdict.delay_seconds is None:
                held = await self._fail(lease, verdict.error)
                JOBS.labels("failed").inc(held)
                return held
            async with self._database.tenant_transaction(lease.tenant_id) as connection:
                held = await leases.postpone(
                    connection,
                    lease,
                    verdict.error,
                    verdict.delay_seconds,
                    counts=verdict.counts,
                    alone=verdict.alone,
                )
            JOBS.labels("postponed").inc(held)
        except (QuarryError, asyncpg.PostgresError) as lost:
            log.warning("the job is left to its lease: %s", lost)
            JOBS.labels("left").inc()
            return True
        return held

    async def _fail(self, lease: Lease, error: ErrorData) -> bool:
        async with self._database.tenant_transaction(lease.tenant_id) as connection:
            document = await documents.lock(connection, lease.document_id)
            said = f"failed with {error.code}: {error.detail}"
            ended = await leases.finish(connection, lease.token, [lease.job_id], JobState.FAILED, said, error)
            if document is None or not ended:
                return bool(ended)
            await versions.set_state(connection, [(lease.document_id, lease.version)], "failed")
            told = DocumentIndexingFailed(
                document_id=lease.document_id,
                job_id=lease.job_id,
                collection=lease.collection,
                external_id=document.external_id,
                version=lease.version,
                error=error,
            )
            failed = JobFailed(lease.job_id, lease.document_id, lease.collection, lease.attempt, error)
            messages = [Message(told, lease.traceparent), Message(failed, lease.traceparent)]
            await publish(connection, messages, service=SERVICE, tenant_id=lease.tenant_id)
            return True

    async def release(self, bundle: Bundle, said: str, *, counts: bool) -> None:
        """Give a bundle's jobs back at once; `counts` says whether as one more attempt."""
        try:
            async with asyncio.timeout(5), self._database.tenant_transaction(bundle.tenant_id) as connection:
                await leases.release(connection, bundle.token, bundle.job_ids, said, counts=counts)
        except (QuarryError, asyncpg.PostgresError, TimeoutError) as error:
            log.warning("jobs are left to their leases: %s", error)
