"""The vector index held against Postgres: what is missing, what is too much, and mending it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

import msgspec

from quarry_common.contracts.documents import IndexReport
from quarry_common.contracts.events import CollectionRefreshed
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.pool import Connection, Database
from quarry_common.vectors.index import VectorIndex, VersionKey
from quarry_indexer import SERVICE
from quarry_indexer.indexing.metrics import ORPHANS
from quarry_indexer.indexing.reindexing import reindex
from quarry_indexer.repository import documents, inspection, versions
from quarry_indexer.repository.inspection import Expected

AT_ONCE = 50
CONFIRMED_AT_ONCE = 10
"""While their documents are held."""
ItemT = TypeVar("ItemT")


class Difference(msgspec.Struct):
    """Where a tenant's index is not what Postgres says, by version."""

    chunks: int = 0
    points: int = 0
    documents: int = 0
    missing: dict[VersionKey, int] = {}
    hidden: dict[VersionKey, int] = {}
    surplus: dict[VersionKey, int] = {}

    def report(self, *, repaired: bool) -> IndexReport:
        """Return what is told of it."""
        return IndexReport(
            documents=self.documents,
            chunks=self.chunks,
            points=self.points,
            missing=sum(self.missing.values()),
            surplus=sum(self.surplus.values()),
            hidden=sum(self.hidden.values()),
            damaged_documents=len({document_id for document_id, _ in [*self.missing, *self.hidden]}),
            repaired=repaired,
        )


class Inspection:
    """Compares and repairs, one tenant at a time. `wake` is told when documents wait to be indexed again."""

    def __init__(self, database: Database, index: VectorIndex, wake: Callable[[], None]) -> None:
        self._database = database
        self._index = index
        self._wake = wake

    async def inspect(self, tenant_id: UUID, *, repair: bool) -> IndexReport:
        """Return how a tenant's points differ from its chunks, and mend that with `repair`.

        What changed while it was looked at is looked at again, so that only what lasts is told.
        """
        difference = await self._compare(tenant_id)
        suspects = {*difference.missing, *difference.hidden, *difference.surplus}
        if suspects:
            await self._confirm(tenant_id, difference, suspects)
        if not repair:
            return difference.report(repaired=False)
        for keys in _parts([*difference.surplus]):
            await self._remove(tenant_id, keys)
        for keys in _parts([*difference.hidden]):
            await self._show(tenant_id, keys)
        damaged = sorted({document_id for document_id, _ in difference.missing})
        for ids in _parts(damaged):
            async with self._database.tenant_transaction(tenant_id) as connection:
                await reindex(connection, tenant_id, document_ids=ids, limit=len(ids))
            self._wake()
        return difference.report(repaired=True)

    async def _compare(self, tenant_id: UUID) -> Difference:
        active: Counter[VersionKey] = Counter()
        inactive: Counter[VersionKey] = Counter()
        async for page in self._index.places(tenant_id):
            for place in page:
                (active if place.active else inactive)[place.document_id, place.version] += 1
        async with self._database.tenant_transaction(tenant_id) as connection:
            expected = await inspection.expected(connection, tenant_id)
        return _difference(expected, active, inactive)

    async def _confirm(self, tenant_id: UUID, difference: Difference, suspects: Iterable[VersionKey]) -> None:
        """Drop from `difference` what was only on its way."""
        for keys in _parts(list(suspects), CONFIRMED_AT_ONCE):
            async with self._database.tenant_transaction(tenant_id) as connection:
                # Held, so that nothing is activated or deleted between the two looks.
                await documents.lock_many(connection, [document_id for document_id, _ in keys])
                expected = await inspection.expected(connection, tenant_id, keys)
                active, inactive = Counter[VersionKey](), Counter[VersionKey]()
                count = partial(self._index.count, tenant_id)
                totals = await asyncio.gather(*(count(*key) for key in keys))
                shown = await asyncio.gather(*(count(*key, active=True) for key in keys))
                for key, total, searchable in zip(keys, totals, shown, strict=True):
                    active[key], inactive[key] = searchable, total - searchable
            again = _difference(expected, active, inactive)
            for kind in ("missing", "hidden", "surplus"):
                found: dict[VersionKey, int] = getattr(difference, kind)
                for key in keys:
                    found.pop(key, None)
                found |= getattr(again, kind)

    async def _remove(self, tenant_id: UUID, keys: Sequence[VersionKey]) -> None:
        async with self._database.tenant_transaction(tenant_id) as connection:
            needed = await versions.alive(connection, keys)
            gone = [key for key in keys if key not in needed]
            if gone:
                await self._index.delete_versions(tenant_id, gone)
                await _tell(connection, tenant_id)
        ORPHANS.labels("index").inc(len(gone))

    async def _show(self, tenant_id: UUID, keys: Sequence[VersionKey]) -> None:
        async with self._database.tenant_transaction(tenant_id) as connection:
            rows = await documents.lock_many(connection, [document_id for document_id, _ in keys])
            current = await _current(connection, tenant_id, keys)
            shown = [key for key in keys if key in current and rows[key[0]].alive]
            if shown:
                await self._index.activate(tenant_id, shown)
                await _tell(connection, tenant_id)


async def _tell(connection: Connection, tenant_id: UUID) -> None:
    await publish_event(connection, CollectionRefreshed(None), service=SERVICE, tenant_id=tenant_id)


async def _current(
    connection: Connection, tenant_id: UUID, keys: Sequence[VersionKey]
) -> dict[VersionKey, Expected]:
    found = await inspection.expected(connection, tenant_id, keys)
    return {key: each for key, each in found.items() if each.searchable}


def _difference(
    expected: dict[VersionKey, Expected], active: Counter[VersionKey], inactive: Counter[VersionKey]
) -> Difference:
    found = Difference(points=active.total(), missing={}, hidden={}, surplus={})
    for key, each in expected.items():
        if not each.searchable:
            continue
        found.documents += 1
        found.chunks += each.chunk_count
        lacking = each.chunk_count - active[key]
        if inactive[key] and lacking > 0:
            found.hidden[key] = min(inactive[key], lacking)
        if lacking > inactive[key]:
            found.missing[key] = lacking - inactive[key]
    for key in active.keys() | inactive.keys():
        count = active[key] + inactive[key]
        if count and key not in expected:
            found.surplus[key] = count
    return found


def _parts(items: Sequence[ItemT], size: int = AT_ONCE) -> Iterable[list[ItemT]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))
