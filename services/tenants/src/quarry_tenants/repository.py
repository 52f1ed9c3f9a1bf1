"""Every SQL statement of the tenants service.

Those that take a `tenant_id` run in that tenant's transaction. The others cross tenants and run as the worker
role, to which `001_tenants.sql` gives no more than they need.
"""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.tenancy import ApiKey, CreateKey, KeyLabel, Scope, Tenant
from quarry_common.keys import ParsedKey
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain import StoredKey

_ALL_SCOPES = frozenset(Scope)
_KEY_COLUMNS = "id, name, prefix, label, scopes, metadata, created_at, expires_at, revoked_at"


async def add_tenant(connection: Connection, tenant_id: UUID, slug: str, name: str) -> Tenant | None:
    """Store a tenant, or return None when the slug is taken."""
    row = await connection.fetchrow(
        """
        INSERT INTO organizations (id, slug, name) VALUES ($1, $2, $3)
        ON CONFLICT (slug) DO NOTHING
        RETURNING id, slug, name, created_at, disabled
        """,
        tenant_id,
        slug,
        name,
    )
    return Tenant(**row) if row else None


async def lock_tenant(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant; until the transaction ends nobody else makes a key for it or disables it."""
    row = await connection.fetchrow(
        """
        SELECT id, slug, name, created_at, disabled FROM organizations
        WHERE id = $1 FOR NO KEY UPDATE
        """,
        tenant_id,
    )
    return Tenant(**row) if row else None


async def has_tenant(connection: Connection, tenant_id: UUID) -> bool:
    """Return whether there is such a tenant."""
    return bool(await connection.fetchval("SELECT 1 FROM organizations WHERE id = $1", tenant_id))


async def tenant_of_slug(worker: Connection, slug: str) -> Tenant | None:
    """Return the tenant of a slug. Crosses tenants: the slug tells which."""
    row = await worker.fetchrow(
        "SELECT id, slug, name, created_at, disabled FROM organizations WHERE slug = $1", slug
    )
    return Tenant(**row) if row else None


async def tenants_after(worker: Connection, after: UUID, limit: int) -> list[Tenant]:
    """Return tenants in the order of creation. Crosses tenants: the operator asks."""
    rows = await worker.fetch(
        """
        SELECT id, slug, name, created_at, disabled FROM organizations
        WHERE id > $1 ORDER BY id LIMIT $2
        """,
        after,
        limit,
    )
    return [Tenant(**row) for row in rows]


async def usable_keys(connection: Connection, tenant_id: UUID, now: datetime) -> int:
    """Return how many keys the tenant has that are neither revoked nor expired."""
    count: int = await connection.fetchval(
        """
        SELECT count(*) FROM api_keys
        WHERE tenant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
        """,
        tenant_id,
        now,
    )
    return count


async def add_key(connection: Connection, key_id: UUID, key: ParsedKey, request: CreateKey) -> ApiKey:
    """Store a key by its hash."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO api_keys
            (id, tenant_id, key_sha256, prefix, label, name, scopes, metadata, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9)
        RETURNING {_KEY_COLUMNS}
        """,  # noqa: S608 - a constant
        key_id,
        request.tenant_id,
        key.sha256,
        key.prefix,
        request.label.value,
        request.name,
        sorted(scope.value for scope in request.scopes),
        msgspec.json.encode(request.metadata).decode(),
        request.expires_at,
    )
    return _key(row)


async def keys_after(connection: Connection, tenant_id: UUID, after: UUID, limit: int) -> list[ApiKey]:
    """Return the tenant's keys in the order of creation."""
    rows = await connection.fetch(
        f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",  # noqa: S608 - a constant
        tenant_id,
        after,
        limit,
    )
    return [_key(row) for row in rows]


async def find_key(connection: Connection, tenant_id: UUID, key_id: UUID) -> ApiKey | None:
    """Return one of the tenant's keys."""
    row = await connection.fetchrow(
        f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE tenant_id = $1 AND id = $2",  # noqa: S608 - a constant
        tenant_id,
        key_id,
    )
    return _key(row) if row else None


async def revoke_key(connection: Connection, tenant_id: UUID, key_id: UUID) -> ApiKey | None:
    """Revoke a key and return it, or None when there is none that is not revoked yet."""
    row = await connection.fetchrow(
        f"""
        UPDATE api_keys SET revoked_at = now()
        WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL
        RETURNING {_KEY_COLUMNS}
        """,  # noqa: S608 - a constant
        tenant_id,
        key_id,
    )
    return _key(row) if row else None


async def key_of_hash(worker: Connection, key_sha256: bytes) -> StoredKey | None:
    """Return what a key's hash stands for. Crosses tenants: the hash tells which."""
    row = await worker.fetchrow(
        """
        SELECT k.id, k.tenant_id, k.scopes, k.expires_at, k.revoked_at,
               o.slug AS tenant_slug, o.disabled AS tenant_disabled
        FROM api_keys k JOIN organizations o ON o.id = k.tenant_id
        WHERE k.key_sha256 = $1
        """,
        key_sha256,
    )
    return StoredKey(**{**row, "scopes": frozenset(_scopes(row["scopes"]))}) if row else None


async def operator_key_of_hash(worker: Connection, key_sha256: bytes) -> StoredKey | None:
    """Return the operator's key of that hash; it belongs to no tenant and may do everything."""
    row = await worker.fetchrow("SELECT id, revoked_at FROM operator_keys WHERE key_sha256 = $1", key_sha256)
    return StoredKey(row["id"], _ALL_SCOPES, revoked_at=row["revoked_at"]) if row else None


async def set_operator_key(worker: Connection, key_id: UUID, key: ParsedKey) -> None:
    """Make `key` the only operator key that is not revoked; harmless to repeat."""
    # Processes that start together take turns: each would otherwise wait for a row that the other holds.
    await worker.execute("SELECT pg_advisory_xact_lock(hashtextextended('tenants:operator_key', 0))")
    await worker.execute(
        """
        INSERT INTO operator_keys (id, key_sha256, prefix) VALUES ($1, $2, $3)
        ON CONFLICT (key_sha256) DO UPDATE SET revoked_at = NULL
        """,
        key_id,
        key.sha256,
        key.prefix,
    )
    await worker.execute(
        "UPDATE operator_keys SET revoked_at = now() WHERE key_sha256 <> $1 AND revoked_at IS NULL",
        key.sha256,
    )


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        label=KeyLabel(row["label"]),
        scopes=_scopes(row["scopes"]),
        metadata=msgspec.json.decode(row["metadata"], type=dict[str, str]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _scopes(names: list[str]) -> list[Scope]:
    # A scope that this version does not know was given by a newer one, and grants nothing here.
    return [Scope(name) for name in names if name in _ALL_SCOPES]
