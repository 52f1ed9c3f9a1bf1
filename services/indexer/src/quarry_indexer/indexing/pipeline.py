"""Jobs from their stored files to passages that searches find: fetch, parse, chunk, embed, index.

What is done is kept: the extracted text and the chunks once they are there, the points batch by batch.
Whoever takes a job over goes on from there. Every write asks for the lease token, so that a worker which lost
its lease changes nothing that counts.
"""

from collections.abc import Sequence

from quarry_common.postgres.pool import Database
from quarry_common.telemetry import tracing
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.indexing.activation import Activation
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.reading import Reader
from quarry_indexer.indexing.writing import Writer
from quarry_indexer.repository import versions
from quarry_indexer.repository.leases import Lease


class Pipeline:
    """Leads a bundle of jobs through the stages; any number of bundles may run side by side."""

    def __init__(
        self, database: Database, index: VectorIndex, reader: Reader, writer: Writer, activation: Activation
    ) -> None:
        self._database = database
        self._index = index
        self._reader = reader
        self._writer = writer
        self._activation = activation

    async def run(self, bundle: Bundle) -> None:
        """Make the bundle's versions searchable; a job that fails by itself is settled by the bundle.

        Raises `LeaseLostError` when no job is this worker's any more, `YieldedError`, and whatever stands in
        the way of all.
        """
        prepared = await self._reader.prepare(bundle)
        if not bundle.members:
            return
        with tracing.span("index embed") as span:
            span.set_attribute("chunk.count", sum(each.chunk_count for each in prepared))
            await self._writer.write(bundle, prepared)
        with tracing.span("index activate"):
            await self._activation.activate(bundle, prepared)

    async def clean_up(self, lost: Sequence[Lease]) -> None:
        """Remove what this worker may have written of jobs that were taken away, where nobody goes on."""
        if not lost:
            return
        tenant_id = lost[0].tenant_id
        keys = [(lease.document_id, lease.version) for lease in lost]
        async with self._database.tenant_transaction(tenant_id) as connection:
            needed = await versions.alive(connection, keys)
            gone = [key for key in keys if key not in needed]
            if gone:
                await self._index.delete_versions(tenant_id, gone)
