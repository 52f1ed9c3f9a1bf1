"""Statements of endpoints: what their owners set, and how they do."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.webhooks import Circuit, DisabledReason, Endpoint
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.endpoints import Stored
from quarry_webhooks.domain.quotas import Told

COUNTED = 10_000
"""Deliveries that wait, or are held, are counted up to here for each endpoint."""

_STORED = """
    id, tenant_id, url, description, event_types, header_names, headers, secret, previous_secret,
    previous_until, enabled, disabled_reason, disabled_at, ordered, requests_per_second, revision
"""

SHOWN = f"""
    SELECT e.id, e.tenant_id, e.url, e.description, e.event_types, e.header_names, e.enabled,
        e.disabled_reason, e.disabled_at, e.ordered, e.requests_per_second,
        CASE WHEN e.previous_until > now() THEN e.previous_until END AS secret_expires_at,
        e.created_at, e.updated_at, e.revision, q.circuit_until, q.failing_since, q.last_delivered_at,
        (SELECT count(*) FROM (SELECT FROM deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'pending' LIMIT {COUNTED}) p) AS pending,
        (SELECT count(*) FROM (SELECT FROM deliveries d
            WHERE d.endpoint_id = e.id AND d.state = 'held' LIMIT {COUNTED}) h) AS held
    FROM endpoints e JOIN queues q ON q.endpoint_id = e.id
"""  # noqa: S608 - a number
"""What is told of an endpoint; both roles may read it."""


async def count(connection: Connection, tenant_id: UUID) -> int:
    """Return how many endpoints the tenant has; nobody adds or removes one until the transaction ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('webhook endpoints of ' || $1::text, 0))",
        str(tenant_id),
    )
    found: int = await connection.fetchval("SELECT count(*) FROM endpoints WHERE tenant_id = $1", tenant_id)
    return found


async def told(connection: Connection, tenant_id: UUID) -> Told | None:
    """Return what was told of the tenant's quota."""
    row = await connection.fetchrow(
        """
        SELECT quota AS "limit", threshold, exceeded FROM quota_notices WHERE tenant_id = $1
        """,
        tenant_id,
    )
    return Told(**row) if row else None


async def set_told(connection: Connection, tenant_id: UUID, notice: Told | None) -> None:
    """Keep what was told of the tenant's quota. Under `count`."""
    if notice is None:
        await connection.execute("DELETE FROM quota_notices WHERE tenant_id = $1", tenant_id)
        return
    await connection.execute(
        """
        INSERT INTO quota_notices (tenant_id, quota, threshold, exceeded) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id) DO UPDATE SET quota = EXCLUDED.quota, threshold = EXCLUDED.threshold,
            exceeded = EXCLUDED.exceeded
        """,
        tenant_id,
        notice.limit,
        notice.threshold,
        notice.exceeded,
    )


async def add(connection: Connection, endpoint: Stored) -> None:
    """Store a new endpoint, with a queue that has nothing to do."""
    await connection.execute(
        f"""
        INSERT INTO endpoints ({_STORED})
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """,  # noqa: S608 - a constant
        *_values(endpoint),
    )
    await connection.execute(
        "INSERT INTO queues (endpoint_id, tenant_id) VALUES ($1, $2)", endpoint.id, endpoint.tenant_id
    )
    await connection.execute(
        "INSERT INTO turns (tenant_id) VALUES ($1) ON CONFLICT (tenant_id) DO NOTHING", endpoint.tenant_id
    )


async def lock(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Stored | None:
    """Return an endpoint, which nobody else changes until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_STORED} FROM endpoints WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",  # noqa: S608
        tenant_id,
        endpoint_id,
    )
    if row is None:
        return None
    reason = row["disabled_reason"]
    return Stored(**{**row, "disabled_reason": DisabledReason(reason) if reason else None})


async def change(connection: Connection, endpoint: Stored) -> None:
    """Store what an endpoint has become. Under `lock`."""
    await connection.execute(
        """
        UPDATE endpoints SET url = $3, description = $4, event_types = $5, header_names = $6, headers = $7,
            secret = $8, previous_secret = $9, previous_until = $10, enabled = $11, disabled_reason = $12,
            disabled_at = $13, ordered = $14, requests_per_second = $15, revision = $16, updated_at = now()
        WHERE id = $1 AND tenant_id = $2
        """,
        *_values(endpoint),
    )


async def begin_anew(connection: Connection, endpoint_id: UUID) -> None:
    """Forget that an endpoint has failed: it was enabled, or is somewhere else. Under `lock`.

    Who delivers to it loses the lease, and with it what it knows of failures: attempts that are under way are
    made again.
    """
    await connection.execute(
        """
        UPDATE queues SET failures = 0, circuit_until = NULL, failing_since = NULL, warned_at = NULL,
            lease_token = NULL, leased_until = NULL
        WHERE endpoint_id = $1
        """,
        endpoint_id,
    )


async def find(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Return what is told of an endpoint."""
    row = await connection.fetchrow(f"{SHOWN} WHERE e.tenant_id = $1 AND e.id = $2", tenant_id, endpoint_id)
    return shown(row) if row else None


async def exists(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> bool:
    """Return whether the tenant has the endpoint."""
    found = await connection.fetchval(
        "SELECT 1 FROM endpoints WHERE tenant_id = $1 AND id = $2", tenant_id, endpoint_id
    )
    return found is not None


async def page(connection: Connection, tenant_id: UUID, after: UUID, limit: int) -> list[Endpoint]:
    """Return endpoints of the tenant after one, oldest first."""
    rows = await connection.fetch(
        f"{SHOWN} WHERE e.tenant_id = $1 AND e.id > $2 ORDER BY e.id LIMIT $3", tenant_id, after, limit
    )
    return [shown(row) for row in rows]


async def switch_off(connection: Connection, endpoint_id: UUID, now: datetime) -> None:
    """Let an endpoint that is being deleted get nothing more; its revision stays. Under `lock`."""
    await connection.execute(
        """
        UPDATE endpoints SET enabled = false, disabled_reason = 'owner',
            disabled_at = coalesce(disabled_at, $2)
        WHERE id = $1
        """,
        endpoint_id,
        now,
    )


async def clear(connection: Connection, endpoint_id: UUID, limit: int) -> int:
    """Delete up to `limit` deliveries of an endpoint with their attempts; return how many."""
    status = await connection.execute(
        """
        DELETE FROM deliveries WHERE id = ANY(ARRAY(
            SELECT id FROM deliveries WHERE endpoint_id = $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,
        endpoint_id,
        limit,
    )
    return int(status.rpartition(" ")[2])


async def remove(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> None:
    """Delete an endpoint with all that is left of it."""
    await connection.execute("DELETE FROM endpoints WHERE tenant_id = $1 AND id = $2", tenant_id, endpoint_id)


async def owners(worker: Connection, ids: list[UUID]) -> dict[str, UUID]:
    """Return whose endpoints, deliveries and replays are. Crosses tenants: nobody is told of another's."""
    rows = await worker.fetch(
        """
        SELECT id, tenant_id FROM endpoints WHERE id = ANY($1::uuid[])
        UNION ALL SELECT id, tenant_id FROM deliveries WHERE id = ANY($1::uuid[])
        UNION ALL SELECT id, tenant_id FROM replays WHERE id = ANY($1::uuid[])
        """,
        ids,
    )
    return {str(row["id"]): row["tenant_id"] for row in rows}


def shown(row: asyncpg.Record) -> Endpoint:
    """Return what is told of an endpoint, from a row of `SHOWN`."""
    fields = {name: row[name] for name in _COPIED}
    reason = row["disabled_reason"]
    return Endpoint(
        **fields,
        disabled_reason=DisabledReason(reason) if reason else None,
        circuit=Circuit.CLOSED if row["circuit_until"] is None else Circuit.OPEN,
    )


_COPIED = tuple(
    field.name
    for field in msgspec.structs.fields(Endpoint)
    if field.name not in {"disabled_reason", "circuit"}
)


def _values(endpoint: Stored) -> tuple[object, ...]:
    return tuple(msgspec.structs.asdict(endpoint).values())
