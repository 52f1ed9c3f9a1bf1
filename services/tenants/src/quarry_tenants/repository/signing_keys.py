"""Signing keys of search tokens: their public halves."""

from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.signing_keys import CreateSigningKey, SigningKey
from quarry_common.contracts.tenancy import Plan, QuotaChanges, TenantState, quotas_of
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.signing_keys import StoredSigningKey, text_of

_COLUMNS = "id, name, public_key, created_at, collections, revoke_before, revoked_at"


async def live(connection: Connection, tenant_id: UUID) -> int:
    """Return how many keys the tenant has that are not revoked."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM signing_keys WHERE tenant_id = $1 AND revoked_at IS NULL", tenant_id
    )
    return count


async def add(
    connection: Connection, key_id: UUID, public_key: bytes, request: CreateSigningKey
) -> SigningKey:
    """Store a key by its public half."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO signing_keys (id, tenant_id, name, public_key, collections) VALUES ($1, $2, $3, $4, $5)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        key_id,
        request.tenant_id,
        request.name,
        public_key,
        None if request.collections is None else sorted(request.collections),
    )
    return _key(row)


async def of_tenant(connection: Connection, tenant_id: UUID) -> list[SigningKey]:
    """Return the tenant's keys in the order of creation."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM signing_keys WHERE tenant_id = $1 ORDER BY id",  # noqa: S608 - a constant
        tenant_id,
    )
    return [_key(row) for row in rows]


async def lock(connection: Connection, tenant_id: UUID, key_id: UUID) -> SigningKey | None:
    """Return one of the tenant's keys, which nobody else changes until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM signing_keys WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",  # noqa: S608 - a constant
        tenant_id,
        key_id,
    )
    return _key(row) if row else None


async def change(connection: Connection, tenant_id: UUID, key: SigningKey) -> None:
    """Store what is revoked of a key."""
    await connection.execute(
        "UPDATE signing_keys SET revoke_before = $3, revoked_at = $4 WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        key.id,
        key.revoke_before,
        key.revoked_at,
    )


async def resolve(worker: Connection, key_id: UUID) -> StoredSigningKey | None:
    """Return the key that a token names. Crosses tenants: the id tells whose it is."""
    row = await worker.fetchrow(
        """
        SELECT k.id, k.tenant_id, k.public_key, k.collections, k.revoke_before, k.revoked_at,
               o.slug, o.state, o.plan, o.quota_changes, o.cors_origins
        FROM signing_keys k JOIN organizations o ON o.id = k.tenant_id
        WHERE k.id = $1
        """,
        key_id,
    )
    if row is None:
        return None
    changes = msgspec.json.decode(row["quota_changes"], type=QuotaChanges)
    return StoredSigningKey(
        id=row["id"],
        tenant_id=row["tenant_id"],
        tenant_slug=row["slug"],
        tenant_state=TenantState(row["state"]),
        public_key=row["public_key"],
        quotas=quotas_of(Plan(row["plan"]), changes),
        collections=None if row["collections"] is None else frozenset(row["collections"]),
        revoke_before=row["revoke_before"],
        revoked_at=row["revoked_at"],
        cors_origins=tuple(row["cors_origins"]),
    )


def _key(row: asyncpg.Record) -> SigningKey:
    return SigningKey(**{**row, "public_key": text_of(row["public_key"])})
