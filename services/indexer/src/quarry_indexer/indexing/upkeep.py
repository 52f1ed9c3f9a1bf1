"""What has to be looked after now and then, by one process at a time: changes that were begun and not ended,
rows that are too old, counts that are due to be checked, blobs and points that nothing names."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg

from quarry_common.blobs import ROOT, BlobEntry, BlobStore
from quarry_common.errors import QuarryError
from quarry_common.postgres import idempotency
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_common.waiting import pause
from quarry_indexer.indexing.inspection import Inspection
from quarry_indexer.indexing.metrics import DRIFT, ORPHANS
from quarry_indexer.indexing.patching import follow
from quarry_indexer.indexing.recount import Recount
from quarry_indexer.repository import changes, embeddings, inspection, versions

log = logging.getLogger(__name__)

LEAD_SECONDS = 60.0
ROUND_SECONDS = 10.0
STALE_AT_ONCE = 100
EXPIRE_AT_ONCE = 10_000
BLOBS_AT_ONCE = 500
BLOB_GRACE = timedelta(hours=1)
"""Age under which a blob is let alone: its row may be about to be written."""


class Upkeep:
    """Works in rounds; whole stores are looked through once per `interval_seconds`, never when it is 0."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        index: VectorIndex,
        inspection: Inspection,
        recount: Recount,
        *,
        interval_seconds: float,
        embedding_days: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._index = index
        self._inspection = inspection
        self._recount = recount
        self._interval_seconds = interval_seconds
        self._embedding_days = embedding_days
        self._leadership = Leadership(database, "upkeep", seconds=LEAD_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set."""
        loop = asyncio.get_running_loop()
        sweep_at = loop.time() + self._interval_seconds
        while not stopping.is_set():
            try:
                if await self._leadership.take():
                    await self._mend()
                    await self._recount.run(stopping, self._leadership.take)
                    if self._interval_seconds and loop.time() >= sweep_at:
                        sweep_at = loop.time() + self._interval_seconds
                        await self.sweep(stopping)
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("upkeep: %s; trying again", error)
            await pause(stopping, ROUND_SECONDS)
        try:
            await self._leadership.give_back()
        except QuarryError as error:
            log.warning("upkeep: the lease is left to run out: %s", error)

    async def _mend(self) -> None:
        async with self._database.worker_transaction() as connection:
            await idempotency.expire(connection)
            await embeddings.expire(connection, self._embedding_days, EXPIRE_AT_ONCE)
            stale = await changes.stale(connection, STALE_AT_ONCE)
        for tenant_id, document_id in stale:
            async with self._database.tenant_transaction(tenant_id) as connection:
                await follow(connection, self._index, tenant_id, document_id)

    async def sweep(self, stopping: asyncio.Event) -> None:
        """Look through both stores once and mend what is found."""
        await self.sweep_blobs()
        async with self._database.worker_transaction() as connection:
            tenants = await inspection.tenants(connection)
        drift: Counter[str] = Counter()
        for tenant_id in tenants:
            if stopping.is_set() or not await self._leadership.take():
                return
            found = await self._inspection.inspect(tenant_id, repair=True)
            for kind in ("missing", "hidden", "surplus"):
                drift[kind] += getattr(found, kind)
            if found.missing or found.hidden or found.surplus:
                log.warning("the index was not what Postgres says, and was mended", extra={
                    "tenant": str(tenant_id), "missing": found.missing, "hidden": found.hidden,
                    "surplus": found.surplus,
                })  # fmt: skip
        for kind in ("missing", "hidden", "surplus"):
            DRIFT.labels(kind).set(drift[kind])

    async def sweep_blobs(self) -> int:
        """Remove blobs that no version names and that are older than an hour; return how many."""
        removed = 0
        async for page in _pages(self._blobs.list(ROOT), BLOBS_AT_ONCE):
            old = [entry.path for entry in page if datetime.now(UTC) - entry.modified_at > BLOB_GRACE]
            async with self._database.worker_transaction() as connection:
                named = await versions.named_paths(connection, old)
            for path in old:
                if path not in named:
                    await self._blobs.delete(path)
                    removed += 1
        ORPHANS.labels("blobs").inc(removed)
        return removed


async def _pages(entries: AsyncIterator[BlobEntry], size: int) -> AsyncIterator[list[BlobEntry]]:
    page: list[BlobEntry] = []
    async for entry in entries:
        page.append(entry)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
