"""Statements that turn events into deliveries."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.ids import new_id
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.messages import Message


class Subscription(msgspec.Struct, frozen=True):
    """Which events an endpoint wants."""

    endpoint_id: UUID
    tenant_id: UUID
    event_types: list[str]


class Wanted(msgspec.Struct, frozen=True):
    """A message that an endpoint wants."""

    endpoint_id: UUID
    message: Message


async def subscriptions(connection: Connection, tenant_ids: Collection[UUID]) -> list[Subscription]:
    """Return the endpoints of tenants, but those switched off by their owners. Needs the worker role."""
    rows = await connection.fetch(
        """
        SELECT id AS endpoint_id, tenant_id, event_types FROM endpoints
        WHERE tenant_id = ANY($1::uuid[]) AND disabled_reason IS DISTINCT FROM 'owner'
        """,
        list(tenant_ids),
    )
    return [Subscription(**row) for row in rows]


async def add_messages(connection: Connection, messages: Sequence[Message]) -> None:
    """Keep what is sent of events, for all endpoints; those kept before stay as they are."""
    await connection.execute(
        """
        INSERT INTO messages (tenant_id, id, event_type, subject, payload, traceparent, occurred_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[],
            $7::timestamptz[])
        ON CONFLICT (tenant_id, id) DO NOTHING
        """,
        [each.tenant_id for each in messages],
        [each.id for each in messages],
        [each.event_type for each in messages],
        [each.subject for each in messages],
        [each.payload for each in messages],
        [each.traceparent for each in messages],
        [each.occurred_at for each in messages],
    )


async def add_deliveries(connection: Connection, wanted: Sequence[Wanted], now: datetime) -> list[UUID]:
    """Make deliveries that were not made before; return the endpoints that have new ones pending.

    Whether an endpoint is enabled is asked for again, and stays so until the transaction ends: a delivery to
    one that is disabled meanwhile is held, and what is held when one is enabled becomes pending.
    """
    rows = await connection.fetch(
        """
        WITH mine AS MATERIALIZED (
            SELECT id, enabled FROM endpoints
            WHERE id = ANY($2::uuid[]) AND disabled_reason IS DISTINCT FROM 'owner' ORDER BY id FOR SHARE)
        INSERT INTO deliveries (id, tenant_id, endpoint_id, message_id, event_type, subject, position, state,
            next_attempt_at, held_at, created_at)
        SELECT w.id, w.tenant_id, mine.id, w.message_id, w.event_type, w.subject, w.position,
            CASE WHEN mine.enabled THEN 'pending' ELSE 'held' END,
            CASE WHEN mine.enabled THEN $8::timestamptz END,
            CASE WHEN NOT mine.enabled THEN $8::timestamptz END, $8
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::uuid[])
            AS w (id, endpoint_id, message_id, event_type, subject, position, tenant_id)
        JOIN mine ON mine.id = w.endpoint_id
        ON CONFLICT (endpoint_id, message_id) DO NOTHING
        RETURNING endpoint_id, state
        """,
        [new_id() for _ in wanted],
        [each.endpoint_id for each in wanted],
        [each.message.id for each in wanted],
        [each.message.event_type for each in wanted],
        [each.message.subject for each in wanted],
        [each.message.position for each in wanted],
        [each.message.tenant_id for each in wanted],
        now,
    )
    return list({row["endpoint_id"] for row in rows if row["state"] == "pending"})
