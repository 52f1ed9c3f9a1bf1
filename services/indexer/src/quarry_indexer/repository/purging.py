"""Statements that remove a tenant, piece by piece, and count what is left of it.

Chunks and versions are found by their documents, on which they depend: they have no index by tenant.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from quarry_common.postgres.pool import Connection

OF_DOCUMENTS = ("chunks", "jobs", "versions", "documents")
"""In the order in which they go."""
OTHERS = (
    "turns", "collections", "embeddings", "idempotency_keys", "outbox", "usage_days", "tenant_counts",
)  # fmt: skip
"""Turns before embeddings: none is kept for a tenant without a turn."""
TABLES = (*OF_DOCUMENTS, *OTHERS)

_DOCUMENTS = """
    (SELECT id FROM documents WHERE tenant_id = $1 AND deleted_at IS NULL
     UNION ALL SELECT id FROM documents WHERE tenant_id = $1 AND deleted_at IS NOT NULL)
"""


async def cancel(connection: Connection, tenant_id: UUID, limit: int) -> int:
    """Cancel up to `limit` open jobs of a tenant and take their leases away; return how many."""
    status = await connection.execute(
        """
        UPDATE jobs SET state = 'cancelled', finished_at = now(), lease_token = NULL, leased_until = NULL,
            revision = revision + 1, log = logged(log, attempt, 'the tenant is being removed')
        WHERE id IN (
            SELECT id FROM jobs WHERE tenant_id = $1 AND state IN ('queued', 'running')
            ORDER BY id LIMIT $2 FOR NO KEY UPDATE)
        """,
        tenant_id,
        limit,
    )
    return _count(status)


async def moment(connection: Connection, seconds_ago: float) -> datetime:
    """Return the time `seconds_ago` by the clock that the rows are written by."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT now() - make_interval(secs => $1)", seconds_ago
    )


async def documents(connection: Connection, tenant_id: UUID, quiet_since: datetime, limit: int) -> list[UUID]:
    """Return documents, tombstones too, that no worker may write for any more: those without an open job, or
    one that was begun and then cancelled after `quiet_since`."""
    rows = await connection.fetch(
        f"""
        SELECT d.id FROM {_DOCUMENTS} d
        WHERE NOT EXISTS (
            SELECT FROM jobs j WHERE j.document_id = d.id
              AND (j.state IN ('queued', 'running')
                   OR (j.state = 'cancelled' AND j.started_at IS NOT NULL AND j.finished_at > $2)))
        LIMIT $3
        """,  # noqa: S608 - a constant
        tenant_id,
        quiet_since,
        limit,
    )
    return [row["id"] for row in rows]


async def any_document(connection: Connection, tenant_id: UUID) -> bool:
    """Whether the tenant has documents still, or tombstones."""
    found = await connection.fetchval(f"SELECT 1 FROM {_DOCUMENTS} d LIMIT 1", tenant_id)  # noqa: S608
    return found is not None


async def delete_of(connection: Connection, table: str, document_ids: Sequence[UUID], limit: int) -> int:
    """Delete up to `limit` rows of documents from a table; return how many."""
    status = await connection.execute(
        f"""
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {table} WHERE document_id = ANY($1::uuid[]) LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,  # noqa: S608 - a name of a table
        document_ids,
        limit,
    )
    return _count(status)


async def delete_documents(connection: Connection, document_ids: Sequence[UUID]) -> dict[str, int]:
    """Delete documents with all that depends on them; return how many rows went, by table."""
    # Held in the order in which all hold them; then nothing is added to them any more.
    held = await connection.fetch(
        "SELECT id FROM documents WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", document_ids
    )
    ids = [row["id"] for row in held]
    await connection.execute(
        """
        SELECT FROM versions WHERE document_id = ANY($1::uuid[]) ORDER BY document_id, version FOR UPDATE
        """,
        ids,
    )
    gone: dict[str, int] = {}
    for table in OF_DOCUMENTS:
        column = "id" if table == "documents" else "document_id"
        status = await connection.execute(
            f"DELETE FROM {table} WHERE {column} = ANY($1::uuid[])",  # noqa: S608 - names of ours
            ids,
        )
        gone[table] = _count(status)
    return gone


async def delete_rows(connection: Connection, table: str, tenant_id: UUID, limit: int) -> int:
    """Delete up to `limit` rows of a tenant from a table that is not of documents; return how many.

    Messages that are not published are left to the relay.
    """
    status = await connection.execute(
        f"""
        DELETE FROM {table} WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM {table} WHERE tenant_id = $1
              {"AND published_at IS NOT NULL" if table == "outbox" else ""}
            LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,  # noqa: S608 - a name of a table
        tenant_id,
        limit,
    )
    return _count(status)


async def left(connection: Connection, tenant_id: UUID, limit: int) -> dict[str, int]:
    """Return how many rows of a tenant are left, by table; no more than `limit` are counted of each."""
    counted: dict[str, int] = {}
    for table in TABLES:
        counted[table] = await connection.fetchval(
            f"SELECT count(*) FROM (SELECT FROM {_rows(table)} LIMIT $2) counted",  # noqa: S608
            tenant_id,
            limit,
        )
    return counted


def _rows(table: str) -> str:
    """Return the rows of the tenant $1, from an index, as what follows FROM."""
    if table == "documents":
        return f"{_DOCUMENTS} d"
    if table in {"chunks", "versions"}:
        return f"(SELECT id FROM {_DOCUMENTS} d LIMIT $2) d JOIN {table} t ON t.document_id = d.id"  # noqa: S608
    if table == "outbox":
        return """
            (SELECT FROM outbox WHERE tenant_id = $1 AND published_at IS NULL
             UNION ALL SELECT FROM outbox WHERE tenant_id = $1 AND published_at IS NOT NULL) o
        """
    return f"{table} WHERE tenant_id = $1"


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
