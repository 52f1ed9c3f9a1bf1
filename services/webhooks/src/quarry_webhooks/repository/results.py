"""Statements that write how attempts ended, under `queues.fence`: who lost the lease writes nothing."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.webhooks import DisabledReason
from quarry_common.postgres.pool import Connection
from quarry_webhooks.domain.results import Attempt, Verdict, bucket
from quarry_webhooks.repository.holding import hold


class Result(msgspec.Struct, frozen=True):
    """An attempt and what follows from it."""

    attempt: Attempt
    verdict: Verdict


async def write(connection: Connection, results: Sequence[Result]) -> int:
    """Write attempts and what becomes of their deliveries; return how many deliveries there still were.

    A delivery that was held meanwhile, because its endpoint was disabled, stays so unless it was delivered.
    """
    attempts = [result.attempt for result in results]
    status = await connection.execute(
        """
        WITH r AS (
            SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::timestamptz[], $5::timestamptz[],
                $6::timestamptz[], $7::real[], $8::text[], $9::int[], $10::text[], $11::text[], $12::jsonb[],
                $13::jsonb[], $14::text[])
                AS r (id, step, state, next_attempt_at, started_at, ended_at, duration_ms, outcome, status,
                    detail, url, request_headers, response_headers, response_excerpt)),
        done AS (
            UPDATE deliveries d SET attempts = d.attempts + 1, step = r.step + 1, forced = false,
                state = CASE WHEN r.state = 'delivered' OR d.state = 'pending' THEN r.state ELSE d.state END,
                next_attempt_at = CASE WHEN r.state = 'delivered' OR d.state = 'pending'
                    THEN r.next_attempt_at END,
                delivered_at = CASE WHEN r.state = 'delivered' THEN r.ended_at ELSE d.delivered_at END,
                held_at = CASE WHEN r.state = 'delivered' THEN NULL
                    WHEN r.state = 'held' AND d.state = 'pending' THEN r.ended_at ELSE d.held_at END,
                last_outcome = r.outcome, last_status = r.status
            FROM r WHERE d.id = r.id RETURNING d.id, d.tenant_id, d.attempts)
        INSERT INTO attempts (delivery_id, number, tenant_id, started_at, duration_ms, outcome, status,
            detail, url, request_headers, response_headers, response_excerpt)
        SELECT done.id, done.attempts, done.tenant_id, r.started_at, r.duration_ms, r.outcome, r.status,
            r.detail, r.url, r.request_headers, r.response_headers, r.response_excerpt
        FROM done JOIN r ON r.id = done.id
        """,
        [each.delivery_id for each in attempts],
        [each.step for each in attempts],
        [result.verdict.state.value for result in results],
        [result.verdict.next_attempt_at for result in results],
        [each.started_at for each in attempts],
        [each.ended_at for each in attempts],
        [each.duration_ms for each in attempts],
        [each.outcome.value for each in attempts],
        [each.status for each in attempts],
        [_text(each.detail) for each in attempts],
        [each.url for each in attempts],
        [_json(each.request_headers) for each in attempts],
        [_json(each.response_headers) for each in attempts],
        [_text(each.response_excerpt) for each in attempts],
    )
    return int(status.rpartition(" ")[2])


def _text(text: str) -> str:
    return text.replace("\0", "�")  # Postgres keeps none


def _json(headers: dict[str, str]) -> str:
    return msgspec.json.encode({name: _text(value) for name, value in headers.items()}).decode()


async def count(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, attempts: Sequence[Attempt]
) -> None:
    """Add attempts to the rollups that rates and latencies are read from."""
    hours: Counter[datetime] = Counter()
    delivered: Counter[datetime] = Counter()
    answers: Counter[tuple[datetime, int]] = Counter()
    for attempt in attempts:
        hour = attempt.started_at.replace(minute=0, second=0, microsecond=0)
        hours[hour] += 1
        delivered[hour] += attempt.delivered
        if attempt.status is not None:
            answers[hour, bucket(attempt.duration_ms)] += 1
    await connection.execute(
        """
        WITH counted AS (
            INSERT INTO hours (endpoint_id, tenant_id, hour, delivered, failed)
            SELECT $1, $2, * FROM unnest($3::timestamptz[], $4::int[], $5::int[])
            ON CONFLICT (endpoint_id, hour) DO UPDATE
                SET delivered = hours.delivered + EXCLUDED.delivered, failed = hours.failed + EXCLUDED.failed)
        INSERT INTO latencies (endpoint_id, tenant_id, hour, bucket, answers)
        SELECT $1, $2, * FROM unnest($6::timestamptz[], $7::smallint[], $8::int[])
        ON CONFLICT (endpoint_id, hour, bucket) DO UPDATE SET answers = latencies.answers + EXCLUDED.answers
        """,
        endpoint_id,
        tenant_id,
        list(hours),
        [delivered[hour] for hour in hours],
        [hours[hour] - delivered[hour] for hour in hours],
        [hour for hour, _ in answers],
        [number for _, number in answers],
        list(answers.values()),
    )


async def disable(
    connection: Connection, endpoint_id: UUID, reason: DisabledReason, now: datetime
) -> str | None:
    """Switch an endpoint off and hold its deliveries; return its URL, or None when it was off already."""
    url: str | None = await connection.fetchval(
        """
        UPDATE endpoints SET enabled = false, disabled_reason = $2, disabled_at = $3, updated_at = $3,
            revision = revision + 1
        WHERE id = $1 AND enabled RETURNING url
        """,
        endpoint_id,
        reason.value,
        now,
    )
    await hold(connection, endpoint_id, now)
    return url
