"""Statements of how endpoints have done: from rollups, never from the log."""

from collections import defaultdict
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.webhooks import Endpoint
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.stats import Hour
from quarry_webhooks.repository.endpoints import SHOWN, shown

COUNTED = 1_000_000
"""Deliveries that wait, or are held, are counted up to here over all tenants."""


async def hours(connection: Connection, endpoint_id: UUID, since: datetime) -> list[Hour]:
    """Return the hours of an endpoint that had attempts, oldest first."""
    answers: dict[datetime, dict[int, int]] = defaultdict(dict)
    for row in await connection.fetch(
        "SELECT hour, bucket, answers FROM latencies WHERE endpoint_id = $1 AND hour >= $2",
        endpoint_id,
        since,
    ):
        answers[row["hour"]][row["bucket"]] = row["answers"]
    rows = await connection.fetch(
        "SELECT hour, delivered, failed FROM hours WHERE endpoint_id = $1 AND hour >= $2 ORDER BY hour",
        endpoint_id,
        since,
    )
    return [Hour(row["hour"], row["delivered"], row["failed"], answers[row["hour"]]) for row in rows]


class Backlog(msgspec.Struct, frozen=True):
    """What waits over all tenants."""

    pending: int
    held: int
    oldest_due_at: datetime | None


async def backlog(worker: Connection) -> Backlog:
    """Return how much waits. Crosses tenants: the operator asks."""
    row = await worker.fetchrow(
        """
        SELECT
            (SELECT count(*) FROM (SELECT FROM deliveries WHERE state = 'pending' LIMIT $1) p) AS pending,
            (SELECT count(*) FROM (SELECT FROM deliveries WHERE state = 'held' LIMIT $1) h) AS held,
            (SELECT min(due_at) FROM queues WHERE due_at <= now()) AS oldest_due_at
        """,
        COUNTED,
    )
    assert row is not None  # noqa: S101 - counts are a row
    return Backlog(**row)


class Place(msgspec.Struct, frozen=True):
    """Where a page ended: whether the last endpoint was in trouble, and its id."""

    troubled: bool
    endpoint_id: UUID


class Placed(msgspec.Struct, frozen=True):
    """An endpoint, whose it is, and whether it is in trouble: it fails, or was disabled for that."""

    tenant_id: UUID
    endpoint: Endpoint
    troubled: bool


async def overview(
    worker: Connection, after: Place | None, limit: int, *, only_failing: bool
) -> list[Placed]:
    """Return endpoints of all tenants, those in trouble first. Crosses tenants: the operator asks."""
    rows = await worker.fetch(
        f"""
        SELECT * FROM ({SHOWN}) s
        CROSS JOIN LATERAL (SELECT s.failing_since IS NOT NULL
            OR coalesce(s.disabled_reason <> 'owner', false) AS troubled) t
        WHERE (t.troubled OR NOT $1)
          AND ($2::boolean IS NULL OR (NOT t.troubled, s.id) > (NOT $2, $3::uuid))
        ORDER BY NOT t.troubled, s.id LIMIT $4
        """,  # noqa: S608 - a constant
        only_failing,
        None if after is None else after.troubled,
        None if after is None else after.endpoint_id,
        limit,
    )
    return [Placed(row["tenant_id"], shown(row), row["troubled"]) for row in rows]
