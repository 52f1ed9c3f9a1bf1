"""Purges: what they removed so far, and the rows of this service that they remove.

What runs as the worker role can do so for a tenant only while its purge goes on: the policies say it.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.purging import Counts
from quarry_common.contracts.tenancy import Tenant
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.audit import Head
from quarry_tenants.domain.purges import Purge, added, is_empty

_COLUMNS = """
    tenant_id, slug, requested_at, started_at, finished_at, removed, left_over, clean_passes, failures,
    go_on_at, audit_entries, audit_head_hash
"""

TABLES: Final = {
    "key_days": "key_id, day",
    "api_keys": "id",
    "search_days": "day",
    "domains": "name",
    "signing_keys": "id",
    "idempotency_keys": "key_digest",
    "receipts": "id",
    "outbox": "id",
    "audit_entries": "number",
    "audit_heads": "tenant_id",
}
"""Tables with rows of tenants, in the order in which they are emptied, and what tells a tenant's rows apart.
What is not among them stays: the organization's row, and the receipt."""


async def begin(
    connection: Connection, tenant: Tenant, requested_at: datetime, now: datetime, head: Head
) -> None:
    """Store a purge that begins now; `head` is the end of the tenant's audit log."""
    await connection.execute(
        """
        INSERT INTO purges
            (tenant_id, slug, requested_at, started_at, go_on_at, audit_entries, audit_head_hash)
        VALUES ($1, $2, $3, $4, $4, $5, $6)
        """,
        tenant.id,
        tenant.slug,
        requested_at,
        now,
        head.number,
        head.hash,
    )


async def of_slug(worker: Connection, slug: str) -> Purge | None:
    """Return the purge of the tenant that had a slug. Crosses tenants: the operator asks."""
    row = await worker.fetchrow(f"SELECT {_COLUMNS} FROM purges WHERE slug = $1", slug)  # noqa: S608 - a constant
    return _purge(row) if row else None


async def remove(worker: Connection, tenant_id: UUID, table: str, limit: int) -> int:
    """Remove at most `limit` of the tenant's rows of a table; return how many there were."""
    key = TABLES[table]
    done: str = await worker.execute(
        f"""
        DELETE FROM {table} WHERE tenant_id = $1
            AND ({key}) IN (SELECT {key} FROM {table} WHERE tenant_id = $1 LIMIT $2)
        """,  # noqa: S608 - constants
        tenant_id,
        limit,
    )
    return int(done.removeprefix("DELETE "))


async def left(worker: Connection, tenant_id: UUID) -> Counts:
    """Return how many rows of the tenant each table has."""
    counts = " UNION ALL ".join(
        f"SELECT '{table}' AS name, count(*) AS count FROM {table} WHERE tenant_id = $1"  # noqa: S608 - constants
        for table in TABLES
    )
    rows = await worker.fetch(counts, tenant_id)
    return {f"postgres.tenants.{row['name']}": row["count"] for row in rows}


async def count(worker: Connection, tenant_id: UUID, removed: Counts) -> None:
    """Add what was removed to the receipt. Whatever it was, every store has to be looked through again."""
    before = await worker.fetchval(
        "SELECT removed FROM purges WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant_id
    )
    if before is None:
        return
    counted = _counts(before)
    if (total := added([counted, removed])) == counted:
        return
    await worker.execute(
        """
        UPDATE purges
        SET removed = $2::jsonb,
            clean_passes = CASE WHEN $3 THEN clean_passes ELSE 0 END,
            failures = CASE WHEN $3 THEN failures ELSE 0 END
        WHERE tenant_id = $1
        """,
        tenant_id,
        msgspec.json.encode(total).decode(),
        is_empty(removed),
    )


async def note_left(worker: Connection, tenant_id: UUID, store: str, left: Counts) -> None:
    """Note what a store has left."""
    await worker.execute(
        """
        UPDATE purges SET left_over = jsonb_set(left_over, ARRAY[$2], $3::jsonb) WHERE tenant_id = $1
        """,
        tenant_id,
        store,
        msgspec.json.encode(left).decode(),
    )


async def lock(connection: Connection, tenant_id: UUID) -> Purge | None:
    """Return the tenant's purge, to which nobody adds until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM purges WHERE tenant_id = $1 FOR NO KEY UPDATE",  # noqa: S608 - a constant
        tenant_id,
    )
    return _purge(row) if row else None


async def go_on(
    connection: Connection, tenant_id: UUID, at: datetime, *, failures: int, clean_passes: int
) -> None:
    """Store when the purge goes on, and how it stands until then."""
    await connection.execute(
        "UPDATE purges SET go_on_at = $2, failures = $3, clean_passes = $4 WHERE tenant_id = $1",
        tenant_id,
        at,
        failures,
        clean_passes,
    )


async def finish(connection: Connection, tenant_id: UUID, now: datetime) -> None:
    """Close the receipt."""
    await connection.execute("UPDATE purges SET finished_at = $2 WHERE tenant_id = $1", tenant_id, now)


def _purge(row: asyncpg.Record) -> Purge:
    fields = dict(row)
    fields["removed"] = _counts(row["removed"])
    fields["left_over"] = msgspec.json.decode(row["left_over"], type=dict[str, Counts])
    return Purge(**fields)


def _counts(text: str) -> Counts:
    return msgspec.json.decode(text, type=Counts)
