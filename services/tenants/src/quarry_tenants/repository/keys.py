"""API keys of tenants, and the operator's."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.api_keys import ApiKey, CreateKey, Grant, KeyLabel
from quarry_common.contracts.tenancy import Plan, QuotaChanges, Scope, TenantState, quotas_of
from quarry_common.keys import ParsedKey
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.keys import StoredKey

_ALL_SCOPES = frozenset(Scope)
_COLUMNS = """
    id, name, prefix, label, scopes, metadata, created_at, expires_at, revoked_at, collections, networks,
    principals, requests_per_second, rotated_from, last_used_at
"""


async def usable(connection: Connection, tenant_id: UUID, now: datetime) -> int:
    """Return how many keys the tenant has that are neither revoked nor expired nor replaced by another."""
    count: int = await connection.fetchval(
        """
        SELECT count(*) FROM api_keys k
        WHERE tenant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
            AND NOT EXISTS (SELECT 1 FROM api_keys newer WHERE newer.rotated_from = k.id)
        """,
        tenant_id,
        now,
    )
    return count


async def add(connection: Connection, key_id: UUID, key: ParsedKey, request: CreateKey) -> ApiKey:
    """Store a key by its hash."""
    grant = request.grant
    row = await connection.fetchrow(
        f"""
        INSERT INTO api_keys
            (id, tenant_id, key_sha256, prefix, label, name, scopes, metadata, expires_at, collections,
             networks, principals, requests_per_second, rate_bucket)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10, $11, $12, $13, $1)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        key_id,
        request.tenant_id,
        key.sha256,
        key.prefix,
        request.label.value,
        request.name,
        sorted(scope.value for scope in grant.scopes),
        msgspec.json.encode(request.metadata).decode(),
        grant.expires_at,
        None if grant.collections is None else sorted(grant.collections),
        list(grant.networks),
        sorted(grant.principals),
        request.requests_per_second,
    )
    return _key(row)


async def replace(connection: Connection, key_id: UUID, key: ParsedKey, old_id: UUID) -> ApiKey:
    """Store a key that may what the one of `old_id` may, counted on the same bucket."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO api_keys
            (id, tenant_id, key_sha256, prefix, label, name, scopes, metadata, expires_at, collections,
             networks, principals, requests_per_second, rate_bucket, rotated_from)
        SELECT $1, tenant_id, $2, $3, label, name, scopes, metadata, expires_at, collections,
               networks, principals, requests_per_second, rate_bucket, id
        FROM api_keys WHERE id = $4
        RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        key_id,
        key.sha256,
        key.prefix,
        old_id,
    )
    return _key(row)


async def page(connection: Connection, tenant_id: UUID, after: UUID, limit: int) -> list[ApiKey]:
    """Return the tenant's keys in the order of creation."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM api_keys WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",  # noqa: S608 - a constant
        tenant_id,
        after,
        limit,
    )
    return [_key(row) for row in rows]


async def find(connection: Connection, tenant_id: UUID, key_id: UUID, *, lock: bool = False) -> ApiKey | None:
    """Return one of the tenant's keys; with `lock`, nobody else changes it until the transaction ends."""
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM api_keys WHERE tenant_id = $1 AND id = $2
        {"FOR NO KEY UPDATE" if lock else ""}
        """,  # noqa: S608 - constants
        tenant_id,
        key_id,
    )
    return _key(row) if row else None


async def of_hash(connection: Connection, tenant_id: UUID, key_sha256: bytes) -> ApiKey | None:
    """Return the tenant's key with that hash."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM api_keys WHERE tenant_id = $1 AND key_sha256 = $2",  # noqa: S608 - a constant
        tenant_id,
        key_sha256,
    )
    return _key(row) if row else None


async def revoke(connection: Connection, tenant_id: UUID, key_id: UUID) -> ApiKey | None:
    """Revoke a key and return it, or None when there is none that is not revoked yet."""
    row = await connection.fetchrow(
        f"""
        UPDATE api_keys SET revoked_at = now()
        WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL
        RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        tenant_id,
        key_id,
    )
    return _key(row) if row else None


async def is_replaced(connection: Connection, tenant_id: UUID, key_id: UUID) -> bool:
    """Return whether another key has taken the place of one."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM api_keys WHERE tenant_id = $1 AND rotated_from = $2)",
            tenant_id,
            key_id,
        )
    )


async def let_expire(connection: Connection, tenant_id: UUID, key_id: UUID, at: datetime) -> None:
    """Have a key refused from `at` on."""
    await connection.execute(
        "UPDATE api_keys SET expires_at = $3 WHERE tenant_id = $1 AND id = $2", tenant_id, key_id, at
    )


async def resolve(worker: Connection, key_sha256: bytes) -> StoredKey | None:
    """Return what a key's hash stands for. Crosses tenants: the hash tells which."""
    row = await worker.fetchrow(
        """
        SELECT k.id, k.tenant_id, k.scopes, k.expires_at, k.revoked_at, k.collections, k.networks,
               k.principals, k.requests_per_second, k.rate_bucket, o.slug, o.state,
               o.plan, o.quota_changes, o.cors_origins
        FROM api_keys k JOIN organizations o ON o.id = k.tenant_id
        WHERE k.key_sha256 = $1
        """,
        key_sha256,
    )
    if row is None:
        return None
    changes = msgspec.json.decode(row["quota_changes"], type=QuotaChanges)
    return StoredKey(
        id=row["id"],
        grant=Grant(
            scopes=frozenset(_scopes(row["scopes"])),
            collections=None if row["collections"] is None else frozenset(row["collections"]),
            networks=tuple(row["networks"]),
            principals=frozenset(row["principals"]),
            expires_at=row["expires_at"],
        ),
        revoked_at=row["revoked_at"],
        requests_per_second=row["requests_per_second"],
        rate_bucket=row["rate_bucket"],
        tenant_id=row["tenant_id"],
        tenant_slug=row["slug"],
        tenant_state=TenantState(row["state"]),
        quotas=quotas_of(Plan(row["plan"]), changes),
        cors_origins=tuple(row["cors_origins"]),
    )


async def owners(worker: Connection, key_ids: Sequence[UUID]) -> dict[str, UUID]:
    """Return whose keys are. Crosses tenants: it is asked in order to tell of attempts on another's."""
    rows = await worker.fetch("SELECT id, tenant_id FROM api_keys WHERE id = ANY ($1)", list(key_ids))
    return {str(row["id"]): row["tenant_id"] for row in rows}


async def resolve_operator(worker: Connection, key_sha256: bytes) -> StoredKey | None:
    """Return the operator's key of that hash; it belongs to no tenant and may do everything."""
    row = await worker.fetchrow("SELECT id, revoked_at FROM operator_keys WHERE key_sha256 = $1", key_sha256)
    return StoredKey(row["id"], Grant(_ALL_SCOPES), row["revoked_at"]) if row else None


async def set_operator(worker: Connection, key_id: UUID, key: ParsedKey) -> None:
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
        collections=row["collections"],
        networks=row["networks"],
        principals=row["principals"],
        requests_per_second=row["requests_per_second"],
        rotated_from=row["rotated_from"],
        last_used_at=row["last_used_at"],
    )


def _scopes(names: list[str]) -> list[Scope]:
    # A scope that this version does not know was given by a newer one, and grants nothing here.
    return [Scope(name) for name in names if name in _ALL_SCOPES]
