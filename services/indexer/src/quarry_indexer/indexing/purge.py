"""Removes what nobody will find again: replaced, deleted and failed versions, from every store."""

import asyncio
import logging

import asyncpg

from quarry_common.blobs import BlobStore
from quarry_common.errors import QuarryError
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_indexer.indexing.metrics import PURGED
from quarry_indexer.repository import idempotency, versions
from quarry_indexer.repository.versions import Discarded

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
BATCH = 100


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
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("purge: %s; trying again", error)
            await self._idle(stopping)

    async def purge_batch(self) -> int:
        """Purge some versions and return how many were found."""
        async with self._database.worker_transaction() as connection:
            found = await versions.discarded(connection, BATCH)
            await idempotency.expire(connection)
        for version in found:
            await self._purge(version)
        return len(found)

    async def _purge(self, version: Discarded) -> None:
        await self._index.delete_versions(version.tenant_id, version.document_id, version=version.version)
        if version.text_path is not None:
            await self._blobs.delete(version.text_path)
        if version.blob_path is not None and version.state == "discarded":
            await self._blobs.delete(version.blob_path)
        async with self._database.tenant_transaction(version.tenant_id) as connection:
            await versions.purged(connection, version)
        PURGED.inc()

    async def _idle(self, stopping: asyncio.Event) -> None:
        waits = {asyncio.create_task(self._woken.wait()), asyncio.create_task(stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
