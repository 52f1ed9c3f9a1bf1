"""Removes a tenant from every store: its jobs are stopped first, then go points, files and rows."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from uuid import UUID

from quarry_common.blobs import BlobStore
from quarry_common.contracts.purging import Counts, Purged
from quarry_common.errors import DeadlineExceededError
from quarry_common.postgres.pool import Database
from quarry_common.vectors.tenants import TenantPoints
from quarry_indexer.repository import purging

MAX_SECONDS = 20.0
PAUSE_SECONDS = 0.25
"""Between two rounds: workers let go, the relay publishes."""
QUIET_LEASES = 1.5
"""After so many times its lease a worker has let go of a job that was cancelled: it renews its leases for at
most half of one, and goes on for one after that."""
POINTS_AT_ONCE = 1000
BLOBS_AT_ONCE = 200
DOCUMENTS_AT_ONCE = 100
ROWS_AT_ONCE = 5000
BLOB_SECONDS = 10.0
"""For one piece of the blob store."""
COUNTED = 10_000
"""What is left is counted up to here."""

Piece = Callable[[], Awaitable[Counts]]
"""Removes a bounded number of things and says how many; nothing when nothing is left."""


class TenantPurge:
    """Piece by piece: whatever ends it, the next request goes on with what is left. Doing it twice does no
    harm."""

    def __init__(
        self, database: Database, blobs: BlobStore, points: TenantPoints, *, lease_seconds: float
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._points = points
        self._quiet_seconds = lease_seconds * QUIET_LEASES

    async def purge(self, tenant_id: UUID, seconds: float) -> Purged:
        """Remove what a tenant has, for at most `seconds` (20 at most) and the piece in hand.

        What others still hold or write is waited for meanwhile: workers that have not let go of a job, and
        messages that are not published. Raises what the stores raise.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + min(seconds, MAX_SECONDS)
        removed: Counter[str] = Counter()
        while True:
            await self._round(tenant_id, until, removed)
            left = await self._left(tenant_id)
            if not any(left.values()) or loop.time() + PAUSE_SECONDS >= until:
                return Purged(dict(removed), left)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _round(self, tenant_id: UUID, until: float, removed: Counter[str]) -> None:
        loop = asyncio.get_running_loop()
        quiet_since = await self._stop(tenant_id)
        # What a worker has written late goes here, before the rows that say that it may.
        for piece in self._before_rows(tenant_id, quiet_since):
            while gone := await piece():
                removed.update(gone)
                if loop.time() >= until:
                    return
        async with self._database.tenant_transaction(tenant_id) as connection:
            if await purging.any_document(connection, tenant_id):
                return
        for table in purging.OTHERS:
            while gone := await self._rows(tenant_id, table):
                removed.update(gone)
                if loop.time() >= until:
                    return

    def _before_rows(self, tenant_id: UUID, quiet_since: datetime) -> Iterator[Piece]:
        yield partial(self._some_points, tenant_id)
        yield partial(self._some_blobs, tenant_id)
        yield partial(self._some_documents, tenant_id, quiet_since)

    async def _stop(self, tenant_id: UUID) -> datetime:
        """Cancel all jobs; return since when workers must be silent about what may be removed now."""
        while True:
            async with self._database.tenant_transaction(tenant_id) as connection:
                if await purging.cancel(connection, tenant_id, ROWS_AT_ONCE) < ROWS_AT_ONCE:
                    return await purging.moment(connection, self._quiet_seconds)

    async def _some_points(self, tenant_id: UUID) -> Counts:
        return _gone("vectors.points", await self._points.delete(tenant_id, POINTS_AT_ONCE))

    async def _some_blobs(self, tenant_id: UUID) -> Counts:
        async with _in_time():
            blobs = self._blobs.of(tenant_id)
            found = await blobs.first(BLOBS_AT_ONCE)
            await asyncio.gather(*(blobs.delete(entry.path) for entry in found))
        size_bytes = sum(entry.size_bytes for entry in found)
        return _gone("blobs.objects", len(found)) | _gone("blobs.bytes", size_bytes)

    async def _some_documents(self, tenant_id: UUID, quiet_since: datetime) -> Counts:
        """Remove rows of some documents: their chunks, of which there may be very many, then themselves."""
        async with self._database.tenant_transaction(tenant_id) as connection:
            ids = await purging.documents(connection, tenant_id, quiet_since, DOCUMENTS_AT_ONCE)
            if not ids:
                return {}
            for table in ("chunks", "jobs"):
                count = await purging.delete_of(connection, table, ids, ROWS_AT_ONCE)
                if count:
                    return _gone(f"postgres.indexer.{table}", count)
            gone = await purging.delete_documents(connection, ids)
        return {f"postgres.indexer.{table}": count for table, count in gone.items()}

    async def _rows(self, tenant_id: UUID, table: str) -> Counts:
        async with self._database.tenant_transaction(tenant_id) as connection:
            count = await purging.delete_rows(connection, table, tenant_id, ROWS_AT_ONCE)
        return _gone(f"postgres.indexer.{table}", count)

    async def _left(self, tenant_id: UUID) -> Counts:
        async with _in_time():
            blobs = await self._blobs.of(tenant_id).first(COUNTED)
        async with self._database.tenant_transaction(tenant_id) as connection:
            rows = await purging.left(connection, tenant_id, COUNTED)
        return {f"postgres.indexer.{table}": count for table, count in rows.items()} | {
            "vectors.points": await self._points.count(tenant_id),
            "blobs.objects": len(blobs),
            "blobs.bytes": sum(entry.size_bytes for entry in blobs),
        }


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BLOB_SECONDS):
            yield
    except TimeoutError:
        raise DeadlineExceededError("The blob store did not answer in time.", retry_after_seconds=2) from None


def _gone(store: str, count: int) -> Counts:
    return {store: count} if count else {}
