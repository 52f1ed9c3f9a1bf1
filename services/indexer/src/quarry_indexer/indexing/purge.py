"""Removes what nobody will find again: replaced, deleted, failed and cancelled versions, from every store."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from quarry_common.blobs import BlobStore
from quarry_common.contracts.events import CollectionRefreshed
from quarry_common.errors import QuarryError
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_common.waiting import woken
from quarry_indexer import SERVICE
from quarry_indexer.indexing.metrics import PURGED
from quarry_indexer.repository import versions
from quarry_indexer.repository.versions import Discarded

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
BATCH = 100
AT_ONCE = 20
"""Versions whose rows are held together."""
BLOB_SECONDS = 5.0


class Purge:
    """Driven by the rows that say what is discarded; doing it twice does no harm."""

    def __init__(self, database: Database, blobs: BlobStore, index: VectorIndex) -> None:
        self._database = database
        self._blobs = blobs
        self._index = index
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that something was discarded; a slow poll finds it otherwise."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Purge until `stopping` is set."""
        while not stopping.is_set():
            self._woken.clear()
            try:
                while await self.purge_batch() == BATCH and not stopping.is_set():
                    pass
            except (QuarryError, asyncpg.PostgresError, TimeoutError) as error:
                log.warning("purge: %s; trying again", error or "files were not removed in time")
            await woken(self._woken, stopping, POLL_SECONDS)

    async def purge_batch(self) -> int:
        """Purge some versions and return how many were found."""
        async with self._database.worker_transaction() as connection:
            found = await versions.to_purge(connection, BATCH)
        by_tenant: dict[UUID, list[Discarded]] = defaultdict(list)
        for version in found:
            by_tenant[version.tenant_id].append(version)
        for tenant_id, discarded in by_tenant.items():
            for start in range(0, len(discarded), AT_ONCE):
                await self._purge(tenant_id, discarded[start : start + AT_ONCE])
        return len(found)

    async def _purge(self, tenant_id: UUID, discarded: Sequence[Discarded]) -> None:
        """Remove versions while their rows are held: one that is revived comes before or after."""
        async with self._database.tenant_transaction(tenant_id) as connection:
            remains = await versions.hold_remains(
                connection, [(version.document_id, version.version) for version in discarded]
            )
            if not remains:
                return
            await self._index.delete_versions(
                tenant_id, [(version.document_id, version.version) for version in remains]
            )
            paths = {path for each in remains for path in (each.text_path, each.blob_path) if path}
            async with asyncio.timeout(BLOB_SECONDS):
                await asyncio.gather(*map(self._blobs.of(tenant_id).delete, paths))
            await versions.purged(connection, remains)
            # Who has kept an answer since the deletion was told of must hear that the points have gone, too.
            left = sorted({version.deleted_from for version in remains if version.deleted_from is not None})
            told = [Message(CollectionRefreshed(collection)) for collection in left]
            await publish(connection, told, service=SERVICE, tenant_id=tenant_id)
        PURGED.inc(len(remains))
