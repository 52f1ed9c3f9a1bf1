"""What is told of running jobs: how far they are, at most once a second each.

It is written in the transaction that holds the jobs' rows under their token, so that nothing is told of a job
after its end; the outbox keeps the order of what is told of one job.
"""

from collections.abc import Mapping
from uuid import UUID

from quarry_common.contracts.events import JobProgressed
from quarry_common.contracts.jobs import Stage
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection
from quarry_indexer import SERVICE
from quarry_indexer.indexing.bundle import Bundle

Counts = tuple[int, int | None]
"""Chunks that are done, and all of them, when that is known."""


async def tell(connection: Connection, bundle: Bundle, stage: Stage, counts: Mapping[UUID, Counts]) -> None:
    """Tell how far those of the jobs are that are held still and of which nothing was told for a second."""
    due = bundle.take_telling(job_id for job_id in counts if job_id in bundle.members)
    told = []
    for job_id in due:
        lease, (done, total) = bundle.members[job_id], counts[job_id]
        event = JobProgressed(
            job_id=job_id,
            document_id=lease.document_id,
            collection=lease.collection,
            attempt=lease.attempt,
            stage=stage,
            chunks_done=done,
            chunks_total=total,
            progress=round(done / total, 4) if total else None,
        )
        told.append(Message(event, lease.traceparent))
    await publish(connection, told, service=SERVICE, tenant_id=bundle.tenant_id)
