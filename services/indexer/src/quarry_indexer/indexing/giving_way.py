"""What becomes of a job whose version a newer one, or a deletion, has overtaken."""

from collections.abc import Sequence

from quarry_common.contracts.events import JobCancelled
from quarry_common.contracts.jobs import JobState
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection
from quarry_indexer import SERVICE
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.repository import leases, versions
from quarry_indexer.repository.leases import Lease


async def give_way(connection: Connection, bundle: Bundle, overtaken: Sequence[Lease]) -> None:
    """End jobs of the bundle that nobody waits for any more."""
    if not overtaken:
        return
    keys = [(lease.document_id, lease.version) for lease in overtaken]
    await versions.set_state(connection, keys, "discarded")
    ended = await leases.finish(
        connection,
        bundle.token,
        [lease.job_id for lease in overtaken],
        JobState.CANCELLED,
        "overtaken by a newer version or a deletion",
    )
    told = [
        Message(
            JobCancelled(lease.job_id, lease.document_id, lease.collection, lease.attempt), lease.traceparent
        )
        for lease in overtaken
        if lease.job_id in ended
    ]
    await publish(connection, told, service=SERVICE, tenant_id=bundle.tenant_id)
    bundle.done([lease.job_id for lease in overtaken])
