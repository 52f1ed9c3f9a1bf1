"""Tenants."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.tenancy import (
    Plan,
    QuotaChanges,
    Tenant,
    TenantState,
    quotas_of,
)
from quarry_common.postgres.pool import Connection

_COLUMNS = "id, slug, name, plan, quota_changes, state, created_at, cors_origins, purge_at"


async def add(connection: Connection, tenant: Tenant) -> Tenant | None:
    """Store a tenant and return it with the time of its creation, or None when the slug is taken."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO organizations (id, slug, name, plan, quota_changes, state, cors_origins)
        VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7)
        ON CONFLICT (slug) DO NOTHING
        RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        tenant.id,
        tenant.slug,
        tenant.name,
        tenant.plan.value,
        msgspec.json.encode(tenant.quota_changes).decode(),
        tenant.state.value,
        tenant.cors_origins,
    )
    return _tenant(row) if row else None


async def lock(connection: Connection, tenant_id: UUID, *, alone: bool = False) -> Tenant | None:
    """Return the tenant; until the transaction ends nobody else makes a key for it or changes it.

    With `alone`, nobody else writes anything for it: who does so is awaited, and who comes later waits.
    """
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM organizations WHERE id = $1 FOR {"UPDATE" if alone else "NO KEY UPDATE"}
        """,  # noqa: S608 - constants
        tenant_id,
    )
    return _tenant(row) if row else None


async def hold(connection: Connection, tenant_id: UUID) -> bool:
    """Return whether anything may be written for the tenant: it is there, and its purge has not begun.

    The purge does not begin before the transaction ends. Every insertion asks the same by a trigger, as the
    last guard; who asks here first can answer with a sentence.
    """
    state = await connection.fetchval(
        "SELECT state FROM organizations WHERE id = $1 FOR KEY SHARE", tenant_id
    )
    return state is not None and TenantState(state) not in {TenantState.PURGING, TenantState.PURGED}


async def find(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Return the tenant."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM organizations WHERE id = $1",  # noqa: S608 - a constant
        tenant_id,
    )
    return _tenant(row) if row else None


async def change(connection: Connection, tenant: Tenant) -> None:
    """Store what can change of a tenant."""
    await connection.execute(
        """
        UPDATE organizations
        SET name = $2, plan = $3, quota_changes = $4::jsonb, state = $5, cors_origins = $6, purge_at = $7
        WHERE id = $1
        """,
        tenant.id,
        tenant.name,
        tenant.plan.value,
        msgspec.json.encode(tenant.quota_changes).decode(),
        tenant.state.value,
        tenant.cors_origins,
        tenant.purge_at,
    )


async def of_slug(worker: Connection, slug: str) -> Tenant | None:
    """Return the tenant of a slug. Crosses tenants: the slug tells which."""
    row = await worker.fetchrow(
        f"SELECT {_COLUMNS} FROM organizations WHERE slug = $1",  # noqa: S608 - a constant
        slug,
    )
    return _tenant(row) if row else None


async def page(worker: Connection, after: UUID, limit: int) -> list[Tenant]:
    """Return tenants in the order of creation. Crosses tenants: the operator asks."""
    rows = await worker.fetch(
        f"SELECT {_COLUMNS} FROM organizations WHERE id > $1 ORDER BY id LIMIT $2",  # noqa: S608 - a constant
        after,
        limit,
    )
    return [_tenant(row) for row in rows]


async def due_for_purge(worker: Connection) -> list[tuple[UUID, datetime]]:
    """Return the tenants that are to be purged next, and when; whose purge has begun, when it goes on.

    At most a hundred, the first ones first. Crosses tenants: it is their end.
    """
    rows = await worker.fetch(
        """
        SELECT o.id, greatest(o.purge_at, p.go_on_at) AS at
        FROM organizations o LEFT JOIN purges p ON p.tenant_id = o.id
        WHERE o.state IN ('deleting', 'purging') AND o.purge_at IS NOT NULL
        ORDER BY at LIMIT 100
        """
    )
    return [(row["id"], row["at"]) for row in rows]


async def has_origin(worker: Connection, origin: str) -> bool:
    """Return whether an active tenant's pages come from `origin`. Crosses tenants: a preflight has no key."""
    return bool(
        await worker.fetchval(
            """
            SELECT EXISTS (
                SELECT 1 FROM organizations WHERE state = 'active' AND cors_origins && ARRAY[$1, '*']
            )
            """,
            origin,
        )
    )


def _tenant(row: asyncpg.Record) -> Tenant:
    plan = Plan(row["plan"])
    changes = msgspec.json.decode(row["quota_changes"], type=QuotaChanges)
    return Tenant(
        id=row["id"],
        slug=row["slug"],
        name=row["name"],
        plan=plan,
        quotas=quotas_of(plan, changes),
        quota_changes=changes,
        state=TenantState(row["state"]),
        created_at=row["created_at"],
        cors_origins=row["cors_origins"],
        purge_at=row["purge_at"],
    )
