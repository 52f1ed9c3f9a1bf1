"""Statements that read what is to be sent, and to where."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.webhooks import DisabledReason
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.circuit import Health
from quarry_webhooks.repository.queues import Claim


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint as it is delivered to; secrets and headers are sealed."""

    id: UUID
    tenant_id: UUID
    url: str
    headers: bytes
    secret: bytes
    previous_secret: bytes | None
    previous_until: datetime | None
    enabled: bool
    disabled_reason: DisabledReason | None
    ordered: bool
    requests_per_second: int | None
    revision: int


class Due(msgspec.Struct, frozen=True):
    """A delivery whose next attempt is due."""

    id: UUID
    message_id: UUID
    event_type: str
    step: int
    forced: bool
    next_attempt_at: datetime
    payload: bytes | None
    """None when the message is not kept any more."""
    traceparent: str


async def endpoint(connection: Connection, claim: Claim) -> tuple[Endpoint, Health] | None:
    """Return a claimed endpoint and how it does; None when the lease is lost or the endpoint deleted."""
    row = await connection.fetchrow(
        """
        SELECT e.id, e.tenant_id, e.url, e.headers, e.secret, e.previous_secret, e.previous_until, e.enabled,
            e.disabled_reason, e.ordered, e.requests_per_second, e.revision,
            q.failures, q.circuit_until, q.failing_since, q.warned_at, q.last_delivered_at
        FROM endpoints e JOIN queues q ON q.endpoint_id = e.id
        WHERE e.id = $1 AND q.lease_token = $2
        """,
        claim.endpoint_id,
        claim.token,
    )
    if row is None:
        return None
    found = {name: row[name] for name in Endpoint.__struct_fields__}
    reason = found.pop("disabled_reason")
    return Endpoint(**found, disabled_reason=DisabledReason(reason) if reason else None), Health(
        failures=row["failures"],
        until=row["circuit_until"],
        failing_since=row["failing_since"],
        warned_at=row["warned_at"],
        last_delivered_at=row["last_delivered_at"],
    )


_DUE = """
    SELECT d.id, d.message_id, d.event_type, d.step, d.forced, d.next_attempt_at, m.payload, m.traceparent
    FROM chosen c JOIN deliveries d ON d.id = c.id
    LEFT JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
    ORDER BY c.place
"""


async def forced(
    connection: Connection, endpoint_id: UUID, now: datetime, most: int, in_hand: Collection[UUID]
) -> list[Due]:
    """Return deliveries that are to be tried whatever the endpoint's state, oldest first."""
    rows = await connection.fetch(
        f"""
        WITH chosen AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY id) AS place FROM deliveries
            WHERE endpoint_id = $1 AND state = 'pending' AND forced AND next_attempt_at <= $2
              AND id <> ALL($3::uuid[])
            ORDER BY id LIMIT $4)
        {_DUE}
        """,  # noqa: S608 - a constant
        endpoint_id,
        now,
        list(in_hand),
        most,
    )
    return [Due(**row) for row in rows]


async def next_ones(
    connection: Connection, endpoint_id: UUID, now: datetime, most: int, in_hand: Collection[UUID]
) -> list[Due]:
    """Return deliveries that are due, most overdue first."""
    rows = await connection.fetch(
        f"""
        WITH chosen AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY next_attempt_at) AS place FROM deliveries
            WHERE endpoint_id = $1 AND state = 'pending' AND next_attempt_at <= $2 AND id <> ALL($3::uuid[])
            ORDER BY next_attempt_at LIMIT $4)
        {_DUE}
        """,  # noqa: S608 - a constant
        endpoint_id,
        now,
        list(in_hand),
        most,
    )
    return [Due(**row) for row in rows]


async def next_in_order(connection: Connection, endpoint_id: UUID, now: datetime, most: int) -> list[Due]:
    """Return deliveries in the order of their events, up to the first that is not due."""
    rows = await connection.fetch(
        f"""
        WITH chosen AS MATERIALIZED (
            SELECT id, row_number() OVER (ORDER BY position, id) AS place FROM deliveries
            WHERE endpoint_id = $1 AND state = 'pending' ORDER BY position, id LIMIT $2)
        {_DUE}
        """,  # noqa: S608 - a constant
        endpoint_id,
        most,
    )
    found: list[Due] = []
    for row in rows:
        if row["next_attempt_at"] > now:
            break
        found.append(Due(**row))
    return found


async def expire_empty(connection: Connection, ids: Collection[UUID]) -> None:
    """Give up deliveries whose message is not kept any more: they would be due for ever."""
    await connection.execute(
        """
        UPDATE deliveries SET state = 'expired', next_attempt_at = NULL, forced = false
        WHERE id = ANY($1::uuid[]) AND state = 'pending'
        """,
        list(ids),
    )
