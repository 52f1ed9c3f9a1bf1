"""Statements of who delivers to an endpoint, and when there is something to do.

`due_at` is right after every write: whoever changes what is pending calls `wake`, in the same transaction.
Times of what is due are the caller's; leases are measured by the database's clock alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.circuit import Health

CHANNEL = "webhooks_due"
"""NOTIFY: something became due; the payload is the tenant's id."""

_DUE = """(
    SELECT least(
        (SELECT min(d.next_attempt_at) FROM deliveries d
         WHERE d.endpoint_id = q.endpoint_id AND d.state = 'pending' AND d.forced),
        CASE WHEN e.enabled AND head.at IS NOT NULL THEN greatest(head.at, {until}) END)
    FROM endpoints e CROSS JOIN LATERAL (
        SELECT CASE WHEN e.ordered
            THEN (SELECT d.next_attempt_at FROM deliveries d
                  WHERE d.endpoint_id = e.id AND d.state = 'pending' ORDER BY d.position LIMIT 1)
            ELSE (SELECT min(d.next_attempt_at) FROM deliveries d
                  WHERE d.endpoint_id = e.id AND d.state = 'pending') END AS at) head
    WHERE e.id = q.endpoint_id)
"""


class Claim(msgspec.Struct, frozen=True):
    """An endpoint that one process delivers to until the lease expires or is given back."""

    endpoint_id: UUID
    tenant_id: UUID
    token: UUID


async def claim(
    connection: Connection,
    now: datetime,
    lease_seconds: float,
    most: int,
    *,
    held: Mapping[UUID, int] | None = None,
    per_tenant: int | None = None,
) -> list[Claim]:
    """Lease at most `most` endpoints that are due; a lapsed lease is taken over. Needs the worker role.

    Tenants take turns: each one's most overdue endpoint comes before anybody's second, and first that of the
    tenant served longest ago. `held` says how many endpoints of a tenant this process has; it gets no more
    than `per_tenant`.
    """
    held = held or {}
    token = uuid4()
    rows = await connection.fetch(
        """
        WITH due AS (
            SELECT endpoint_id, tenant_id, due_at,
                row_number() OVER (PARTITION BY tenant_id ORDER BY due_at) AS place
            FROM queues WHERE due_at <= $1 AND (leased_until IS NULL OR leased_until < now())),
        next AS MATERIALIZED (
            SELECT d.endpoint_id,
                row_number() OVER (ORDER BY d.place, coalesce(t.served_at, '-infinity'), d.due_at) AS turn
            FROM due d
            LEFT JOIN turns t ON t.tenant_id = d.tenant_id
            LEFT JOIN unnest($4::uuid[], $5::int[]) AS h (tenant_id, held) ON h.tenant_id = d.tenant_id
            WHERE $6::int IS NULL OR d.place <= $6::int - coalesce(h.held, 0)
            ORDER BY turn LIMIT $3 * 2),  -- more than wanted: another process may have some of them by now
        free AS MATERIALIZED (
            SELECT q.endpoint_id FROM next JOIN queues q ON q.endpoint_id = next.endpoint_id
            WHERE q.due_at <= $1 AND (q.leased_until IS NULL OR q.leased_until < now())
            ORDER BY next.turn LIMIT $3 FOR NO KEY UPDATE OF q SKIP LOCKED)
        UPDATE queues q SET lease_token = $7, leased_until = now() + make_interval(secs => $2)
        FROM free WHERE q.endpoint_id = free.endpoint_id
        RETURNING q.endpoint_id, q.tenant_id
        """,
        now,
        lease_seconds,
        most,
        list(held),
        list(held.values()),
        per_tenant,
        token,
    )
    if rows:
        await connection.execute(
            """
            INSERT INTO turns (tenant_id, served_at) SELECT t, clock_timestamp() FROM unnest($1::uuid[]) AS t
            ORDER BY t ON CONFLICT (tenant_id) DO UPDATE SET served_at = EXCLUDED.served_at
            """,
            list({row["tenant_id"] for row in rows}),
        )
    return [Claim(row["endpoint_id"], row["tenant_id"], token) for row in rows]


async def next_due(connection: Connection) -> datetime | None:
    """Return when the next endpoint that nobody holds is due. Needs the worker role."""
    found: datetime | None = await connection.fetchval(
        """
        SELECT due_at FROM queues WHERE due_at IS NOT NULL AND (leased_until IS NULL OR leased_until < now())
        ORDER BY due_at LIMIT 1
        """
    )
    return found


async def renew(connection: Connection, claims: Sequence[Claim], lease_seconds: float) -> set[UUID]:
    """Make leases last; return the endpoints still held. Needs the worker role."""
    rows = await connection.fetch(
        """
        WITH mine AS (
            SELECT q.endpoint_id FROM queues q JOIN unnest($1::uuid[], $2::uuid[]) AS c (endpoint_id, token)
                ON c.endpoint_id = q.endpoint_id AND c.token = q.lease_token
            ORDER BY q.endpoint_id FOR NO KEY UPDATE OF q)
        UPDATE queues q SET leased_until = now() + make_interval(secs => $3)
        FROM mine WHERE q.endpoint_id = mine.endpoint_id RETURNING q.endpoint_id
        """,
        [claim.endpoint_id for claim in claims],
        [claim.token for claim in claims],
        lease_seconds,
    )
    return {row["endpoint_id"] for row in rows}


async def fence(connection: Connection, claim: Claim, *, disabling: bool = False) -> bool:
    """Hold the endpoint and its queue until the transaction ends; return whether the lease is still held.

    `disabling` says that the endpoint itself will be changed: it is locked for that before its queue.
    """
    lock = "NO KEY UPDATE" if disabling else "KEY SHARE"
    found = await connection.fetchval(
        f"SELECT 1 FROM endpoints WHERE id = $1 FOR {lock}",  # noqa: S608 - one of two constants
        claim.endpoint_id,
    )
    if found is None:
        return False
    held = await connection.fetchval(
        "SELECT 1 FROM queues WHERE endpoint_id = $1 AND lease_token = $2 FOR NO KEY UPDATE",
        claim.endpoint_id,
        claim.token,
    )
    return held is not None


async def store(
    connection: Connection, claim: Claim, health: Health, now: datetime, *, give_back: bool
) -> datetime | None:
    """Write how the endpoint does and when it is due next; return the latter. Under `fence`.

    One that is given back with more to do stands behind those that have waited meanwhile.
    """
    found: datetime | None = await connection.fetchval(
        f"""
        UPDATE queues q SET failures = $2, circuit_until = $3, failing_since = $4, warned_at = $5,
            last_delivered_at = $6,
            lease_token = CASE WHEN $7 THEN NULL ELSE lease_token END,
            leased_until = CASE WHEN $7 THEN NULL ELSE leased_until END,
            due_at = (SELECT CASE WHEN $7 THEN greatest(due.at, $8) ELSE due.at END
                FROM (SELECT {_DUE.format(until="$3")} AS at) due WHERE due.at IS NOT NULL)
        WHERE q.endpoint_id = $1 RETURNING due_at
        """,  # noqa: S608 - a constant
        claim.endpoint_id,
        health.failures,
        health.until,
        health.failing_since,
        health.warned_at,
        health.last_delivered_at,
        give_back,
        now,
    )
    return found


async def wake(connection: Connection, endpoint_id: UUID) -> None:
    """Set when the endpoint is due from what is pending, and tell those who deliver.

    To be called after every change of an endpoint's deliveries, of `enabled` or of `ordered`, last in the
    transaction of that change.
    """
    # Two statements: the second sees what was committed while the first waited for the lock.
    await connection.execute("SELECT 1 FROM queues WHERE endpoint_id = $1 FOR NO KEY UPDATE", endpoint_id)
    await connection.execute(
        f"""
        WITH woken AS (
            UPDATE queues q SET due_at = {_DUE.format(until="q.circuit_until")}
            WHERE q.endpoint_id = $1 RETURNING q.tenant_id)
        SELECT pg_notify($2, tenant_id::text) FROM woken
        """,  # noqa: S608 - a constant
        endpoint_id,
        CHANNEL,
    )


async def add_due(
    connection: Connection, tenant_id: UUID, endpoint_ids: Sequence[UUID], at: datetime
) -> None:
    """Make endpoints that got new deliveries due at `at`, or when their circuits allow it; tell who delivers.

    Cheaper than `wake` for many endpoints; for deliveries whose attempt is due at `at` and no others.
    """
    await connection.execute(
        """
        WITH these AS (
            SELECT endpoint_id FROM queues WHERE endpoint_id = ANY($1::uuid[])
            ORDER BY endpoint_id FOR NO KEY UPDATE),
        woken AS (
            UPDATE queues q SET due_at = least(q.due_at, greatest($2, q.circuit_until))
            FROM these WHERE q.endpoint_id = these.endpoint_id RETURNING 1)
        SELECT pg_notify($3, $4) FROM woken LIMIT 1
        """,
        endpoint_ids,
        at,
        CHANNEL,
        str(tenant_id),
    )


class Backlog(msgspec.Struct, frozen=True):
    """What waits over all tenants."""

    due: int
    """Endpoints that are due."""
    oldest: datetime | None
    """Since when the one is due that has been so longest."""
    open_circuits: int


async def backlog(connection: Connection, now: datetime) -> Backlog:
    """Return how much waits. Needs the worker role."""
    row = await connection.fetchrow(
        """
        SELECT count(*) FILTER (WHERE due_at <= $1) AS due, min(due_at) FILTER (WHERE due_at <= $1) AS oldest,
            count(*) FILTER (WHERE circuit_until > $1) AS open_circuits
        FROM queues WHERE due_at IS NOT NULL
        """,
        now,
    )
    assert row is not None  # noqa: S101 - counts are a row
    return Backlog(**row)
