from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.collections import Collection, CollectionSettings
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Connection
from quarry_indexer.domain.collection_settings import Indexing

DEFAULTS = CollectionSettings()


class CollectionRow(msgspec.Struct, frozen=True):
    """A collection as it is stored."""

    id: UUID
    name: str
    embedder_id: str
    created_at: datetime


async def create(
    connection: Connection,
    tenant_id: UUID,
    name: str,
    embedder_id: str,
    settings: CollectionSettings = DEFAULTS,
) -> bool:
    """Create a collection; return whether it is new."""
    done = await connection.fetchval(
        """
        INSERT INTO collections (id, tenant_id, name, embedder_id, indexing, searching)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id
        """,
        new_id(),
        tenant_id,
        name,
        embedder_id,
        *_stored(settings),
    )
    return done is not None


async def find(
    connection: Connection, tenant_id: UUID, name: str, *, lock: bool = False
) -> CollectionRow | None:
    """Return a collection. With `lock` nobody can delete it before this transaction ends."""
    row = await connection.fetchrow(
        f"""
        SELECT id, name, embedder_id, created_at FROM collections
        WHERE tenant_id = $1 AND name = $2 {"FOR KEY SHARE" if lock else ""}
        """,  # noqa: S608 - one of two constants
        tenant_id,
        name,
    )
    return CollectionRow(**row) if row else None


async def page(
    connection: Connection, tenant_id: UUID, *, name: str | None, after: str, limit: int
) -> list[Collection]:
    """Return collections by name with what they hold: those after `after`, or the one called `name`."""
    rows = await connection.fetch(
        """
        SELECT c.id, c.name, c.embedder_id, c.created_at, c.indexing, c.searching,
               held.documents AS document_count, held.chunks AS chunk_count,
               held.outdated AS outdated_documents
        FROM collections c, LATERAL (
            SELECT count(*) AS documents, coalesce(sum(v.chunk_count), 0)::bigint AS chunks,
                   count(*) FILTER (WHERE v.indexing <> c.indexing) AS outdated
            FROM documents d
            LEFT JOIN versions v ON v.document_id = d.id AND v.version = d.current_version
            WHERE d.tenant_id = c.tenant_id AND d.collection = c.name AND d.deleted_at IS NULL
        ) held
        WHERE c.tenant_id = $1 AND c.name > $2 AND ($3::text IS NULL OR c.name = $3)
        ORDER BY c.name LIMIT $4
        """,
        tenant_id,
        after,
        name,
        limit,
    )
    return [_collection(row) for row in rows]


async def find_settings(
    connection: Connection, tenant_id: UUID, name: str, *, lock: bool = False
) -> CollectionSettings | None:
    """Return a collection's settings. With `lock` nobody else changes them before this transaction ends."""
    row = await connection.fetchrow(
        f"""
        SELECT indexing, searching FROM collections
        WHERE tenant_id = $1 AND name = $2 {"FOR NO KEY UPDATE" if lock else ""}
        """,  # noqa: S608 - one of two constants
        tenant_id,
        name,
    )
    return _settings(row) if row else None


async def set_settings(
    connection: Connection, tenant_id: UUID, name: str, settings: CollectionSettings
) -> None:
    """Give a collection settings."""
    await connection.execute(
        "UPDATE collections SET indexing = $3, searching = $4 WHERE tenant_id = $1 AND name = $2",
        tenant_id,
        name,
        *_stored(settings),
    )


async def all_settings(
    connection: Connection, tenant_id: UUID, *, after: str, limit: int
) -> dict[str, CollectionSettings]:
    """Return the settings that are not the default ones, by the names of collections, after `after`."""
    rows = await connection.fetch(
        """
        SELECT name, indexing, searching FROM collections
        WHERE tenant_id = $1 AND name > $2 AND (indexing <> '{}' OR searching <> '{}')
        ORDER BY name LIMIT $3
        """,
        tenant_id,
        after,
        limit,
    )
    return {row["name"]: _settings(row) for row in rows}


async def any_with_defaults(connection: Connection, tenant_id: UUID) -> bool:
    """Whether the tenant has documents in collections with the default settings."""
    found: bool = await connection.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM collections c
            WHERE c.tenant_id = $1 AND c.indexing = '{}' AND c.searching = '{}' AND EXISTS (
                SELECT FROM documents d
                WHERE d.tenant_id = c.tenant_id AND d.collection = c.name AND d.deleted_at IS NULL
            )
        )
        """,
        tenant_id,
    )
    return found


async def delete(connection: Connection, tenant_id: UUID, name: str) -> bool:
    """Remove the collection's row, after every upload that is being accepted into it has ended."""
    done = await connection.fetchval(
        "DELETE FROM collections WHERE tenant_id = $1 AND name = $2 RETURNING id", tenant_id, name
    )
    return done is not None


def _stored(settings: CollectionSettings) -> tuple[str, str]:
    """Return what of the settings is not the default: the part that shapes the index, and the other."""
    given = {
        name: value
        for name, value in msgspec.structs.asdict(settings).items()
        if value != getattr(DEFAULTS, name)
    }
    shaping = Indexing.__struct_fields__
    parts = (
        {name: value for name, value in given.items() if name in shaping},
        {name: value for name, value in given.items() if name not in shaping},
    )
    indexing, searching = (msgspec.json.encode(part).decode() for part in parts)
    return indexing, searching


def _settings(row: asyncpg.Record) -> CollectionSettings:
    stored = msgspec.json.decode(row["indexing"]) | msgspec.json.decode(row["searching"])
    return msgspec.convert(stored, CollectionSettings)


def _collection(row: asyncpg.Record) -> Collection:
    members = {name: value for name, value in row.items() if name not in {"indexing", "searching"}}
    return Collection(**members, settings=_settings(row))
