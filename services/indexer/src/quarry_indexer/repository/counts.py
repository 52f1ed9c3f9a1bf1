"""Statements of what each tenant has: documents, and bytes of their latest versions.

Every transaction that changes that changes the counts, too, and takes their row after all other rows: it is
where the acceptances of a tenant wait for each other, and nobody who holds it waits for anything else.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.usage import Quota
from quarry_common.postgres.pool import Connection
from quarry_indexer.domain.quotas import Told, Usage


class Latest(msgspec.Struct, frozen=True):
    """The last version of a document that is not discarded: what its owner sees, and what is counted."""

    version: int
    state: str
    fingerprint: bytes
    size_bytes: int


class Counted(msgspec.Struct, frozen=True):
    """What a tenant has, and what was told of its quotas."""

    used: Usage = Usage()
    told: dict[Quota, Told] = {}


NOTHING = Counted()
_TOLD = msgspec.json.Decoder(dict[Quota, Told])


async def find(connection: Connection, tenant_id: UUID) -> Counted:
    """Return what a tenant has by what is committed; it may be more in a moment."""
    row = await connection.fetchrow(
        "SELECT documents, storage_bytes, told FROM tenant_counts WHERE tenant_id = $1", tenant_id
    )
    return _counted(row) if row else NOTHING


async def hold(connection: Connection, tenant_id: UUID) -> Counted:
    """Return what a tenant has, which changes no more until this transaction ends."""
    held = "SELECT documents, storage_bytes, told FROM tenant_counts WHERE tenant_id = $1 FOR UPDATE"
    row = await connection.fetchrow(held, tenant_id)
    if row is None:
        await connection.execute(
            "INSERT INTO tenant_counts (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", tenant_id
        )
        row = await connection.fetchrow(held, tenant_id)
    return _counted(row) if row else NOTHING


async def add(connection: Connection, tenant_id: UUID, growth: Usage, taken: Usage) -> Counted:
    """Add to what a tenant has, and what was `taken` in to its day; return what it has then.

    The row stays held until this transaction ends, and nothing else may be locked after it.
    """
    row = await connection.fetchrow(
        """
        WITH counted AS (
            INSERT INTO tenant_counts AS c (tenant_id, documents, storage_bytes) VALUES ($1, $2, $3)
            ON CONFLICT (tenant_id) DO UPDATE
                SET documents = c.documents + $2, storage_bytes = c.storage_bytes + $3
            RETURNING documents, storage_bytes, told),
        -- By the clock, once the row above is held: days follow each other as the changes do.
        noted AS (
            INSERT INTO usage_days AS u
                (tenant_id, day, documents_added, bytes_added, documents, storage_bytes)
            SELECT $1, (clock_timestamp() AT TIME ZONE 'UTC')::date, $4, $5, documents, storage_bytes
            FROM counted
            ON CONFLICT (tenant_id, day) DO UPDATE
                SET documents_added = u.documents_added + EXCLUDED.documents_added,
                    bytes_added = u.bytes_added + EXCLUDED.bytes_added,
                    documents = EXCLUDED.documents, storage_bytes = EXCLUDED.storage_bytes)
        SELECT documents, storage_bytes, told FROM counted
        """,
        tenant_id,
        growth.documents,
        growth.storage_bytes,
        taken.documents,
        taken.storage_bytes,
    )
    return _counted(row)


async def set_told(connection: Connection, tenant_id: UUID, told: Mapping[Quota, Told]) -> None:
    """Keep what was told of a tenant's quotas; its row is held."""
    await connection.execute(
        "UPDATE tenant_counts SET told = $2 WHERE tenant_id = $1",
        tenant_id,
        msgspec.json.encode(told).decode(),
    )


async def latest(connection: Connection, document_ids: Sequence[UUID]) -> dict[UUID, Latest]:
    """Return what of documents is counted; of a tombstone nothing."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT ON (document_id) document_id, version, state, fingerprint, size_bytes FROM versions
        WHERE document_id = ANY($1::uuid[]) AND state <> 'discarded' ORDER BY document_id, version DESC
        """,
        document_ids,
    )
    return {
        row["document_id"]: Latest(row["version"], row["state"], row["fingerprint"], row["size_bytes"])
        for row in rows
    }


async def storage_bytes(connection: Connection, document_ids: Sequence[UUID]) -> int:
    """Return the bytes that are counted of documents."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        SELECT coalesce(sum(size_bytes), 0)::bigint FROM (
            SELECT DISTINCT ON (document_id) size_bytes FROM versions
            WHERE document_id = ANY($1::uuid[]) AND state <> 'discarded' ORDER BY document_id, version DESC
        ) latest
        """,
        document_ids,
    )


_TRUE = """
    SELECT count(*) AS documents, coalesce(sum(v.size_bytes), 0)::bigint AS storage_bytes
    FROM documents d
    LEFT JOIN LATERAL (SELECT size_bytes FROM versions WHERE document_id = d.id AND state <> 'discarded'
                       ORDER BY version DESC LIMIT 1) v ON true
    WHERE d.tenant_id = $1 AND d.deleted_at IS NULL AND d.latest_version > 0
"""


async def drift(connection: Connection, tenant_id: UUID) -> Usage:
    """Return what must be added to a tenant's counts to make them true.

    One statement sees documents and counts as they were committed together, so nobody is held up for it.
    """
    row = await connection.fetchrow(
        f"""
        SELECT t.documents - c.documents AS documents, t.storage_bytes - c.storage_bytes AS storage_bytes
        FROM ({_TRUE}) t, tenant_counts c WHERE c.tenant_id = $1
        """,  # noqa: S608 - a constant
        tenant_id,
    )
    return Usage(**row) if row else Usage()


async def recounted(connection: Connection, tenant_id: UUID) -> None:
    """Note that a tenant's counts were held against its documents."""
    await connection.execute("UPDATE tenant_counts SET recounted_at = now() WHERE tenant_id = $1", tenant_id)


async def due(connection: Connection, seconds: float, limit: int) -> Sequence[UUID]:
    """Return tenants whose counts were not held against their documents for `seconds`. Needs the worker role:
    it looks at every tenant."""
    rows = await connection.fetch(
        """
        SELECT tenant_id FROM tenant_counts WHERE recounted_at < now() - make_interval(secs => $1)
        ORDER BY recounted_at LIMIT $2
        """,
        seconds,
        limit,
    )
    return [row["tenant_id"] for row in rows]


def _counted(row: asyncpg.Record) -> Counted:
    return Counted(Usage(row["documents"], row["storage_bytes"]), _TOLD.decode(row["told"]))
