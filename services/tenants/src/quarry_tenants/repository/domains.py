"""Custom domains."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from quarry_common.contracts.domains import DomainState, HostTenant
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.domains import StoredDomain

_COLUMNS = "name, token, state, created_at, verified_at, checked_at, missing_since, problem"


async def add(connection: Connection, tenant_id: UUID, name: str, token: str) -> StoredDomain:
    """Store a claim that the tenant has not made yet."""
    row = await connection.fetchrow(
        f"INSERT INTO domains (tenant_id, name, token) VALUES ($1, $2, $3) RETURNING {_COLUMNS}",  # noqa: S608 - a constant
        tenant_id,
        name,
        token,
    )
    return _domain(row)


async def find(
    connection: Connection, tenant_id: UUID, name: str, *, lock: bool = False
) -> StoredDomain | None:
    """Return one of the tenant's claims; with `lock`, nobody else changes it until the transaction ends."""
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM domains WHERE tenant_id = $1 AND name = $2
        {"FOR NO KEY UPDATE" if lock else ""}
        """,  # noqa: S608 - constants
        tenant_id,
        name,
    )
    return _domain(row) if row else None


async def of_tenant(connection: Connection, tenant_id: UUID) -> list[StoredDomain]:
    """Return the tenant's claims by name."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM domains WHERE tenant_id = $1 ORDER BY name",  # noqa: S608 - a constant
        tenant_id,
    )
    return [_domain(row) for row in rows]


async def change(connection: Connection, tenant_id: UUID, domain: StoredDomain) -> bool:
    """Store what a look found; return False, with nothing changed, when the name is verified for another."""
    try:
        # A savepoint, so that the transaction goes on after a refusal. Another's row it cannot see.
        async with connection.transaction():
            await connection.execute(
                """
                UPDATE domains
                SET state = $3, verified_at = $4, checked_at = $5, missing_since = $6, problem = $7
                WHERE tenant_id = $1 AND name = $2
                """,
                tenant_id,
                domain.name,
                domain.state.value,
                domain.verified_at,
                domain.checked_at,
                domain.missing_since,
                domain.problem,
            )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def remove(connection: Connection, tenant_id: UUID, name: str) -> StoredDomain | None:
    """Delete a claim and return it, or None when there is none."""
    row = await connection.fetchrow(
        f"DELETE FROM domains WHERE tenant_id = $1 AND name = $2 RETURNING {_COLUMNS}",  # noqa: S608 - a constant
        tenant_id,
        name,
    )
    return _domain(row) if row else None


async def host(worker: Connection, name: str) -> HostTenant | None:
    """Return the active tenant for which `name` is verified. Crosses tenants: the name tells which."""
    row = await worker.fetchrow(
        """
        SELECT o.id, o.slug, o.cors_origins
        FROM domains d JOIN organizations o ON o.id = d.tenant_id
        WHERE d.name = $1 AND d.state = 'verified' AND o.state = 'active'
        """,
        name,
    )
    return HostTenant(row["id"], row["slug"], tuple(row["cors_origins"])) if row else None


async def due(worker: Connection, checked_before: datetime, limit: int) -> Sequence[tuple[UUID, str]]:
    """Return tenant and name of claims to look at again, those longest ago first.

    Crosses tenants: what is due is found among all.
    """
    rows = await worker.fetch(
        """
        SELECT d.tenant_id, d.name FROM domains d JOIN organizations o ON o.id = d.tenant_id
        WHERE d.state IN ('verified', 'lapsed') AND d.checked_at <= $1 AND o.state IN ('active', 'disabled')
        ORDER BY d.checked_at LIMIT $2
        """,
        checked_before,
        limit,
    )
    return [(row["tenant_id"], row["name"]) for row in rows]


def _domain(row: asyncpg.Record) -> StoredDomain:
    return StoredDomain(**{**row, "state": DomainState(row["state"])})
