"""How keys are used, by day."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import KeyDay
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.key_use import DayUse


class CountedUse(msgspec.Struct, frozen=True):
    """A use that was counted: the key as it was before, and its day after it."""

    use: DayUse
    name: str
    created_at: datetime
    last_used_at: datetime | None
    denied: int
    anomalies: list[str]
    """That were told of the day."""


async def count(connection: Connection, uses: Sequence[DayUse]) -> list[CountedUse]:
    """Count uses of keys of many tenants, each key and day once; keys are locked in the order given.

    Keys that are not there are left out, and those of tenants that are being purged. The transaction is that
    of the last tenant afterwards.
    """
    rows = await connection.fetch(
        """
        SELECT u.place, k.name, k.created_at, k.last_used_at, k.denied, k.anomalies
        FROM unnest($1::uuid[], $2::uuid[], $3::date[], $4::bigint[], $5::bigint[], $6::timestamptz[])
            WITH ORDINALITY AS u (tenant, key, day, requests, denied, used_at, place),
            count_key_use(u.tenant, u.key, u.day, u.requests, u.denied, u.used_at) AS k
        """,
        [use.tenant_id for use in uses],
        [use.key_id for use in uses],
        [use.day for use in uses],
        [use.requests for use in uses],
        [use.denied for use in uses],
        [use.last_used_at for use in uses],
    )
    return [CountedUse(uses[place - 1], *counted) for place, *counted in rows]


async def denied_before(connection: Connection, use: DayUse, days: int) -> list[int]:
    """Return how many requests of a key were denied on each of the `days` before, on which it was used."""
    rows = await connection.fetch(
        """
        SELECT denied FROM key_days
        WHERE tenant_id = $1 AND key_id = $2 AND day >= $3::date - $4::integer AND day < $3
        """,
        use.tenant_id,
        use.key_id,
        use.day,
        days,
    )
    return [row["denied"] for row in rows]


async def note_anomaly(connection: Connection, use: DayUse, anomaly: str) -> None:
    """Note that an anomaly was told of a key's day."""
    await connection.execute(
        """
        UPDATE key_days SET anomalies = array_append(anomalies, $4)
        WHERE tenant_id = $1 AND key_id = $2 AND day = $3
        """,
        use.tenant_id,
        use.key_id,
        use.day,
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
