"""Statements of jobs that make deliveries of a range pending again."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from quarry_common.contracts.webhooks import ReplayKind
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.messages import Message


class Job(msgspec.Struct, frozen=True):
    """A job as the process sees it that works on it."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    kind: ReplayKind
    since: datetime
    until: datetime
    event_types: list[str]
    reached: str
    """How far it has come: the last delivery looked at, or the last place in the stream; empty at first."""
    attempts: int
    token: UUID


class Target(msgspec.Struct, frozen=True):
    """The endpoint of a job."""

    event_types: list[str]
    enabled: bool


async def claim(connection: Connection, lease_seconds: float) -> Job | None:
    """Lease the oldest job that nobody works on. Needs the worker role."""
    row = await connection.fetchrow(
        """
        UPDATE replays SET state = 'running', attempts = attempts + 1, lease_token = $1,
            leased_until = now() + make_interval(secs => $2)
        WHERE id = (
            SELECT id FROM replays WHERE state IN ('queued', 'running')
              AND (leased_until IS NULL OR leased_until < now())
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id, tenant_id, endpoint_id, kind, since, until, event_types, reached, attempts,
            lease_token AS token
        """,
        uuid4(),
        lease_seconds,
    )
    return None if row is None else Job(**{**row, "kind": ReplayKind(row["kind"])})


async def target(connection: Connection, job: Job) -> Target | None:
    """Return the endpoint, which stays as it is until the transaction ends; None when the job is lost."""
    row = await connection.fetchrow(
        "SELECT event_types, enabled FROM endpoints WHERE id = $1 FOR SHARE", job.endpoint_id
    )
    held = await connection.fetchval(
        "SELECT 1 FROM replays WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR NO KEY UPDATE",
        job.id,
        job.token,
    )
    return None if row is None or held is None else Target(**row)


class Candidate(msgspec.Struct, frozen=True):
    """A delivery that might be made pending again."""

    id: UUID
    event_type: str


async def candidates(connection: Connection, job: Job, reached: UUID, most: int) -> list[Candidate]:
    """Return deliveries of the range after `reached` that failed, are held or expired, oldest first."""
    rows = await connection.fetch(
        """
        SELECT id, event_type FROM deliveries
        WHERE endpoint_id = $1 AND state IN ('failed', 'held', 'expired') AND id > $2
          AND created_at >= $3 AND created_at < $4
        ORDER BY id LIMIT $5
        """,
        job.endpoint_id,
        reached,
        job.since,
        job.until,
        most,
    )
    return [Candidate(**row) for row in rows]


async def rearm(connection: Connection, ids: Sequence[UUID], now: datetime, *, enabled: bool) -> int:
    """Let the schedule of deliveries begin again, now or when the endpoint is enabled; return how many."""
    status = await connection.execute(
        """
        UPDATE deliveries SET state = CASE WHEN $3 THEN 'pending' ELSE 'held' END, step = 0,
            next_attempt_at = CASE WHEN $3 THEN $2::timestamptz END,
            held_at = CASE WHEN NOT $3 THEN $2::timestamptz END
        WHERE id = ANY($1::uuid[]) AND state IN ('failed', 'held', 'expired')
        """,
        ids,
        now,
        enabled,
    )
    return int(status.rpartition(" ")[2])


async def deliver_again(
    connection: Connection, endpoint_id: UUID, messages: Sequence[Message], now: datetime, *, enabled: bool
) -> int:
    """Make deliveries of messages, or let those there are begin again; return how many.

    Those that are pending already stay as they are.
    """
    rows = await connection.fetch(
        """
        INSERT INTO deliveries AS d (id, tenant_id, endpoint_id, message_id, event_type, subject, position,
            state, next_attempt_at, held_at, created_at)
        SELECT w.id, w.tenant_id, $8, w.message_id, w.event_type, w.subject, w.position,
            CASE WHEN $9 THEN 'pending' ELSE 'held' END, CASE WHEN $9 THEN $7::timestamptz END,
            CASE WHEN NOT $9 THEN $7::timestamptz END, $7
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[])
            AS w (id, tenant_id, message_id, event_type, subject, position)
        ON CONFLICT (endpoint_id, message_id) DO UPDATE
            SET state = EXCLUDED.state, step = 0, next_attempt_at = EXCLUDED.next_attempt_at,
                held_at = EXCLUDED.held_at, delivered_at = NULL
            WHERE d.state <> 'pending'
        RETURNING 1
        """,
        [new_id() for _ in messages],
        [each.tenant_id for each in messages],
        [each.id for each in messages],
        [each.event_type for each in messages],
        [each.subject for each in messages],
        [each.position for each in messages],
        now,
        endpoint_id,
        enabled,
    )
    return len(rows)


async def advance(
    connection: Connection, job: Job, reached: str, examined: int, matched: int, lease_seconds: float
) -> None:
    """Write how far the job has come, and keep its lease. Under `target`."""
    await connection.execute(
        """
        UPDATE replays SET reached = $2, examined = examined + $3, matched = matched + $4, attempts = 0,
            leased_until = now() + make_interval(secs => $5)
        WHERE id = $1
        """,
        job.id,
        reached,
        examined,
        matched,
        lease_seconds,
    )


async def finish(connection: Connection, job: Job, error: str = "") -> None:
    """End the job, with an error or without; whoever lost it ends nothing. Needs the worker role."""
    await connection.execute(
        """
        UPDATE replays SET state = CASE WHEN $3 = '' THEN 'succeeded' ELSE 'failed' END, error = $3,
            finished_at = now(), lease_token = NULL, leased_until = NULL
        WHERE id = $1 AND lease_token = $2
        """,
        job.id,
        job.token,
        error,
    )


async def give_back(connection: Connection, job: Job, delay_seconds: float) -> None:
    """Let the job be resumed by anybody after a delay. Needs the worker role."""
    await connection.execute(
        """
        UPDATE replays SET leased_until = now() + make_interval(secs => $3) WHERE id = $1 AND lease_token = $2
        """,
        job.id,
        job.token,
        delay_seconds,
    )
