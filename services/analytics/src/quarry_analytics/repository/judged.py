"""Judged sets and their runs."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.analytics import JudgedQuery, JudgedSet, Measures
from quarry_common.postgres.pool import Connection

RUNS_KEPT = 200


class StoredRun(msgspec.Struct, frozen=True):
    """A run as it is stored."""

    id: UUID
    mode: str
    ran_at: datetime
    measures: Measures
    queries: dict[str, Measures]
    failed: int


async def lock_sets(connection: Connection, tenant_id: UUID) -> int:
    """Let no other transaction make sets of the tenant meanwhile; return how many there are."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7))", str(tenant_id))
    found: int = await connection.fetchval("SELECT count(*) FROM judged_sets WHERE tenant_id = $1", tenant_id)
    return found


async def insert(
    connection: Connection,
    tenant_id: UUID,
    set_id: UUID,
    name: str,
    collection: str,
    queries: list[JudgedQuery],
) -> bool:
    """Write a new set; return whether its name was free."""
    done = await connection.execute(
        """
        INSERT INTO judged_sets (id, tenant_id, name, collection, queries) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant_id, name) DO NOTHING
        """,
        set_id,
        tenant_id,
        name,
        collection,
        msgspec.json.encode(queries).decode(),
    )
    return bool(done.endswith(" 1"))


async def replace(
    connection: Connection,
    tenant_id: UUID,
    set_id: UUID,
    name: str,
    collection: str,
    queries: list[JudgedQuery],
) -> None:
    """Write what a set holds from now on."""
    await connection.execute(
        """
        UPDATE judged_sets SET name = $3, collection = $4, queries = $5, updated_at = now(),
            revision = revision + 1
        WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        set_id,
        name,
        collection,
        msgspec.json.encode(queries).decode(),
    )


async def get(
    connection: Connection, tenant_id: UUID, set_id: UUID, *, lock: bool = False
) -> tuple[JudgedSet, list[JudgedQuery]] | None:
    """Return a set with its queries; with `lock` nobody else changes it meanwhile."""
    row = await connection.fetchrow(
        f"SELECT * FROM judged_sets WHERE tenant_id = $1 AND id = $2 {'FOR UPDATE' if lock else ''}",  # noqa: S608
        tenant_id,
        set_id,
    )
    if row is None:
        return None
    queries = msgspec.json.decode(row["queries"], type=list[JudgedQuery])
    return _set_of(row, queries), queries


async def sets(connection: Connection, tenant_id: UUID, collection: str | None) -> list[JudgedSet]:
    """Return a tenant's sets by name."""
    rows = await connection.fetch(
        """
        SELECT * FROM judged_sets WHERE tenant_id = $1 AND ($2::text IS NULL OR collection = $2) ORDER BY name
        """,
        tenant_id,
        collection,
    )
    return [_set_of(row, msgspec.json.decode(row["queries"], type=list[JudgedQuery])) for row in rows]


async def delete(connection: Connection, tenant_id: UUID, set_id: UUID) -> None:
    """Remove a set with its runs."""
    await connection.execute("DELETE FROM judged_sets WHERE tenant_id = $1 AND id = $2", tenant_id, set_id)


async def add_run(connection: Connection, tenant_id: UUID, set_id: UUID, run: StoredRun) -> None:
    """Write a run, and forget the oldest ones."""
    await connection.execute(
        """
        INSERT INTO runs (id, tenant_id, set_id, mode, ran_at, measures, queries, failed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        run.id,
        tenant_id,
        set_id,
        run.mode,
        run.ran_at,
        msgspec.json.encode(run.measures).decode(),
        msgspec.json.encode(run.queries).decode(),
        run.failed,
    )
    await connection.execute(
        """
        DELETE FROM runs WHERE tenant_id = $1 AND set_id = $2 AND id NOT IN (
            SELECT id FROM runs WHERE tenant_id = $1 AND set_id = $2 ORDER BY id DESC LIMIT $3)
        """,
        tenant_id,
        set_id,
        RUNS_KEPT,
    )


async def runs(connection: Connection, tenant_id: UUID, set_id: UUID) -> list[StoredRun]:
    """Return the runs of a set, latest first."""
    rows = await connection.fetch(
        """
        SELECT id, mode, ran_at, measures, queries, failed FROM runs
        WHERE tenant_id = $1 AND set_id = $2 ORDER BY id DESC
        """,
        tenant_id,
        set_id,
    )
    return [
        StoredRun(
            row["id"],
            row["mode"],
            row["ran_at"],
            msgspec.json.decode(row["measures"], type=Measures),
            msgspec.json.decode(row["queries"], type=dict[str, Measures]),
            row["failed"],
        )
        for row in rows
    ]


async def clicked(
    connection: Connection, tenant_id: UUID, queries: list[int], start: datetime, end: datetime
) -> list[asyncpg.Record]:
    """Return how often documents of answers to these queries were clicked in a range."""
    found: list[asyncpg.Record] = await connection.fetch(
        """
        SELECT s.query_hash, i.document_id, count(DISTINCT i.query_id) AS clicks
        FROM interactions i JOIN searches s ON s.tenant_id = i.tenant_id AND s.query_id = i.query_id
            AND s.occurred_at = i.searched_at
        WHERE i.tenant_id = $1 AND i.searched_at >= $3 AND i.searched_at < $4 AND i.action = 'click'
            AND s.occurred_at >= $3 AND s.occurred_at < $4
            AND s.query_hash = ANY($2::bigint[]) AND i.document_id = ANY(s.results)
        GROUP BY s.query_hash, i.document_id
        """,
        tenant_id,
        queries,
        start,
        end,
    )
    return found


def _set_of(row: asyncpg.Record, queries: list[JudgedQuery]) -> JudgedSet:
    return JudgedSet(
        id=row["id"],
        name=row["name"],
        collection=row["collection"],
        queries=len(queries),
        judged=sum(any(grade > 0 for grade in query.judgements.values()) for query in queries),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        revision=row["revision"],
    )
