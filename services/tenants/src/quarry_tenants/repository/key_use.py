"""How keys are used, by day."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import KeyDay
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.key_use import DayUse


class UsedKey(msgspec.Struct, frozen=True):
    """A key as it was before a report."""

    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None


class CountedDay(msgspec.Struct, frozen=True):
    """A key's day after a report, with the anomalies that were told of it."""

    key_id: UUID
    day: date
    denied: int
    anomalies: list[str]


async def lock_keys(connection: Connection, tenant_id: UUID, key_ids: Sequence[UUID]) -> dict[UUID, UsedKey]:
    """Return those of the keys that there are; nobody else changes them until the transaction ends."""
    rows = await connection.fetch(
        """
        SELECT id, name, created_at, last_used_at FROM api_keys
        WHERE tenant_id = $1 AND id = ANY ($2::uuid[]) ORDER BY id FOR NO KEY UPDATE
        """,
        tenant_id,
        key_ids,
    )
    return {row["id"]: UsedKey(**row) for row in rows}


async def add(connection: Connection, tenant_id: UUID, uses: Sequence[DayUse]) -> list[CountedDay]:
    """Add uses to the days of keys that are locked, and return these days; each key and day comes once."""
    rows = await connection.fetch(
        """
        INSERT INTO key_days (tenant_id, key_id, day, requests, denied)
        SELECT $1, u.key_id, u.day, u.requests, u.denied
        FROM unnest($2::uuid[], $3::date[], $4::bigint[], $5::bigint[]) AS u (key_id, day, requests, denied)
        ON CONFLICT (tenant_id, key_id, day) DO UPDATE
            SET requests = key_days.requests + EXCLUDED.requests, denied = key_days.denied + EXCLUDED.denied
        RETURNING key_id, day, denied, anomalies
        """,
        tenant_id,
        [use.key_id for use in uses],
        [use.day for use in uses],
        [use.requests for use in uses],
        [use.denied for use in uses],
    )
    return [CountedDay(**row) for row in rows]


async def used(connection: Connection, tenant_id: UUID, last_used_at: Mapping[UUID, datetime]) -> None:
    """Note when keys were used last; a time before the one that is known changes nothing."""
    await connection.execute(
        """
        UPDATE api_keys k SET last_used_at = u.at
        FROM unnest($2::uuid[], $3::timestamptz[]) AS u (id, at)
        WHERE k.tenant_id = $1 AND k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)
        """,
        tenant_id,
        list(last_used_at),
        list(last_used_at.values()),
    )


async def denied_before(
    connection: Connection, tenant_id: UUID, key_id: UUID, day: date, days: int
) -> list[int]:
    """Return how many requests of a key were denied on each of the `days` before one on which it was used."""
    rows = await connection.fetch(
        """
        SELECT denied FROM key_days
        WHERE tenant_id = $1 AND key_id = $2 AND day >= $3::date - $4::integer AND day < $3
        """,
        tenant_id,
        key_id,
        day,
        days,
    )
    return [row["denied"] for row in rows]


async def note_anomaly(
    connection: Connection, tenant_id: UUID, key_id: UUID, day: date, anomaly: str
) -> None:
    """Note that an anomaly was told of a key's day."""
    await connection.execute(
        """
        UPDATE key_days SET anomalies = array_append(anomalies, $4)
        WHERE tenant_id = $1 AND key_id = $2 AND day = $3
        """,
        tenant_id,
        key_id,
        day,
        anomaly,
    )


async def days(connection: Connection, tenant_id: UUID, key_id: UUID, first: date) -> list[KeyDay]:
    """Return the days from `first` on, on which a key was used; latest first."""
    rows = await connection.fetch(
        """
        SELECT day, requests, denied FROM key_days
        WHERE tenant_id = $1 AND key_id = $2 AND day >= $3 ORDER BY day DESC
        """,
        tenant_id,
        key_id,
        first,
    )
    return [KeyDay(**row) for row in rows]
