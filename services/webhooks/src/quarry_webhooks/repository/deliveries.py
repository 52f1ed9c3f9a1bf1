"""Statements of the log of deliveries, and of deliveries that somebody asks for."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.webhooks import Attempt, Delivery, DeliveryState, ListDeliveries, Outcome
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.messages import Message

ATTEMPTS_SHOWN = 50
FORCED_AT_ONCE = 100
"""Deliveries of an endpoint that may be forced and not tried yet."""

_COLUMNS = """
    id, endpoint_id, message_id, event_type, subject, state, attempts, created_at, next_attempt_at,
    delivered_at, last_outcome, last_status
"""


async def page(
    connection: Connection, request: ListDeliveries, before: UUID | None, limit: int
) -> list[Delivery]:
    """Return deliveries of an endpoint before one, latest first."""
    types, entities, everything = _filters(request.event_types)
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM deliveries
        WHERE endpoint_id = $1 AND ($2::uuid IS NULL OR id < $2)
          AND (cardinality($3::text[]) = 0 OR state = ANY($3::text[]))
          AND ($4 OR event_type = ANY($5::text[]) OR split_part(event_type, '.', 1) = ANY($6::text[]))
          AND ($7::timestamptz IS NULL OR created_at >= $7)
          AND ($8::timestamptz IS NULL OR created_at < $8)
        ORDER BY id DESC LIMIT $9
        """,  # noqa: S608 - a constant
        request.ref.endpoint_id,
        before,
        [state.value for state in request.states],
        everything,
        types,
        entities,
        request.since,
        request.until,
        limit,
    )
    return [_delivery(row) for row in rows]


async def find(connection: Connection, endpoint_id: UUID, delivery_id: UUID) -> Delivery | None:
    """Return a delivery of an endpoint."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM deliveries WHERE endpoint_id = $1 AND id = $2",  # noqa: S608 - a constant
        endpoint_id,
        delivery_id,
    )
    return _delivery(row) if row else None


async def payload(connection: Connection, delivery_id: UUID) -> bytes | None:
    """Return what is sent; None when it is not kept any more."""
    found: bytes | None = await connection.fetchval(
        """
        SELECT m.payload FROM deliveries d
        JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
        WHERE d.id = $1
        """,
        delivery_id,
    )
    return found


async def attempts(connection: Connection, delivery_id: UUID) -> list[Attempt]:
    """Return the last attempts of a delivery, latest first."""
    rows = await connection.fetch(
        """
        SELECT number, started_at, duration_ms, outcome, status, detail, url, request_headers,
            response_headers, response_excerpt
        FROM attempts WHERE delivery_id = $1 ORDER BY number DESC LIMIT $2
        """,
        delivery_id,
        ATTEMPTS_SHOWN,
    )
    return [
        Attempt(
            **{
                **row,
                "duration_ms": round(row["duration_ms"], 2),
                "outcome": Outcome(row["outcome"]),
                "request_headers": msgspec.json.decode(row["request_headers"], type=dict[str, str]),
                "response_headers": msgspec.json.decode(row["response_headers"], type=dict[str, str]),
            }
        )
        for row in rows
    ]


async def forced(connection: Connection, endpoint_id: UUID) -> int:
    """Return how many deliveries of an endpoint were forced and are not tried yet."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM deliveries WHERE endpoint_id = $1 AND state = 'pending' AND forced", endpoint_id
    )
    return count


async def force(
    connection: Connection, endpoint_id: UUID, delivery_id: UUID, now: datetime
) -> Delivery | None:
    """Make a delivery due now, ahead of others and though its endpoint be disabled; its schedule begins
    again."""
    row = await connection.fetchrow(
        f"""
        UPDATE deliveries SET state = 'pending', forced = true, step = 0, next_attempt_at = $3,
            delivered_at = NULL, held_at = NULL
        WHERE endpoint_id = $1 AND id = $2 RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        endpoint_id,
        delivery_id,
        now,
    )
    return _delivery(row) if row else None


async def add_forced(
    connection: Connection, delivery_id: UUID, endpoint_id: UUID, message: Message, now: datetime
) -> Delivery:
    """Store a message that one endpoint gets now."""
    await connection.execute(
        """
        INSERT INTO messages (tenant_id, id, event_type, subject, payload, traceparent, occurred_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        message.tenant_id,
        message.id,
        message.event_type,
        message.subject,
        message.payload,
        message.traceparent,
        message.occurred_at,
    )
    row = await connection.fetchrow(
        f"""
        INSERT INTO deliveries (id, tenant_id, endpoint_id, message_id, event_type, subject, position, state,
            forced, next_attempt_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', true, $8, $8) RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        delivery_id,
        message.tenant_id,
        endpoint_id,
        message.id,
        message.event_type,
        message.subject,
        message.position,
        now,
    )
    return _delivery(row)


def _filters(filters: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Return the types, the entities, and whether everything is wanted."""
    entities = [each.removesuffix(".*") for each in filters if each.endswith(".*")]
    types = [each for each in filters if not each.endswith("*")]
    return types, entities, not filters or "*" in filters


def _delivery(row: asyncpg.Record) -> Delivery:
    fields = dict(row)
    fields["webhook_id"] = str(fields.pop("message_id"))
    fields["state"] = DeliveryState(row["state"])
    fields["last_outcome"] = Outcome(row["last_outcome"]) if row["last_outcome"] else None
    return Delivery(**fields)
