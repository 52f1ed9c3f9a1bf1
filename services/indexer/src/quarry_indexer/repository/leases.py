"""Statements of who works on a job: taking it, keeping it, and ending it. Each asks for the lease's token, so
that a worker which lost its lease changes nothing."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import msgspec

from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.errors import ErrorData
from quarry_common.postgres.pool import Connection
from quarry_indexer.repository.jobs import PRIORITIES

BULK_EVERY = 4
"""Every so many turns of a tenant go to its imports first, so that they come to an end."""
TOGETHER = 32
"""Small documents of one tenant that a worker takes at once."""
SMALL_BYTES = 16 * 1024
TOGETHER_BYTES = 128 * 1024


class Lease(msgspec.Struct, frozen=True):
    """A job taken by one worker until the lease expires or is taken away."""

    job_id: UUID
    tenant_id: UUID
    document_id: UUID
    version: int
    collection: str
    token: UUID
    attempt: int
    failures: int
    takeovers: int
    alone: bool
    bulk: bool
    chunks_done: int
    chunks_total: int | None
    size_bytes: int
    traceparent: str
    created_at: datetime


async def claim(
    connection: Connection,
    lease_seconds: float,
    *,
    passed_over: Collection[UUID] = (),
    worker: str = "a worker",
    fair: bool = True,
) -> list[Lease]:
    """Lease the next job of the tenant whose turn it is, with its next small ones; empty when there is none.

    The turn is of the tenant with the fewest leases, among those of the one that has waited longest;
    `passed_over` get none. A job whose lease has expired is taken over, by itself. All leases that are taken
    at once have one token. Without `fair` the turn is of the tenant with the oldest job. Needs the worker
    role: it looks at every tenant.
    """
    turn = await connection.fetchrow(
        """
        WITH RECURSIVE waiting AS (
            (SELECT tenant_id FROM jobs WHERE state = 'queued' ORDER BY tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT j.tenant_id FROM jobs j WHERE j.state = 'queued' AND j.tenant_id > w.tenant_id
                    ORDER BY j.tenant_id LIMIT 1)
            FROM waiting w WHERE w.tenant_id IS NOT NULL),
        held AS (
            SELECT tenant_id, count(DISTINCT lease_token) FILTER (WHERE leased_until >= now()) AS leases,
                bool_or(leased_until < now()) AS expired
            FROM jobs WHERE state = 'running' GROUP BY tenant_id)
        SELECT t.tenant_id, t.claims, coalesce(h.expired, false) AS expired
        FROM turns t LEFT JOIN held h ON h.tenant_id = t.tenant_id
        WHERE t.tenant_id <> ALL($1::uuid[])
          AND (h.expired OR (
              t.tenant_id IN (SELECT tenant_id FROM waiting)
              AND EXISTS (SELECT 1 FROM jobs j WHERE j.tenant_id = t.tenant_id AND j.state = 'queued'
                          AND j.run_at <= now())))
        ORDER BY CASE WHEN $2 THEN coalesce(h.leases, 0) END,
            CASE WHEN $2 THEN t.claimed_at ELSE (SELECT min(j.created_at) FROM jobs j
                WHERE j.tenant_id = t.tenant_id AND j.state IN ('queued', 'running')) END
        LIMIT 1 FOR UPDATE OF t SKIP LOCKED
        """,
        list(passed_over),
        fair,
    )
    if turn is None:
        return []
    tenant_id = turn["tenant_id"]
    leases = await _take_over(connection, tenant_id, lease_seconds, worker) if turn["expired"] else []
    first_bulk = turn["claims"] % BULK_EVERY == BULK_EVERY - 1
    for priority in sorted(PRIORITIES.values(), reverse=first_bulk):
        leases = leases or await _take(connection, tenant_id, priority, lease_seconds, worker)
    await connection.execute(
        "UPDATE turns SET claimed_at = clock_timestamp(), claims = claims + 1 WHERE tenant_id = $1", tenant_id
    )
    return leases


_LEASED = """
    jobs.id AS job_id, jobs.tenant_id, document_id, version, collection, lease_token AS token,
    jobs.attempt, failures, takeovers, jobs.alone, jobs.priority > 0 AS bulk, chunks_done, chunks_total,
    jobs.size_bytes, traceparent, created_at
"""


async def _take_over(
    connection: Connection, tenant_id: UUID, lease_seconds: float, worker: str
) -> list[Lease]:
    rows = await connection.fetch(
        f"""
        WITH next AS (
            SELECT id FROM jobs WHERE tenant_id = $1 AND state = 'running' AND leased_until < now()
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
        UPDATE jobs SET attempt = attempt + 1, takeovers = takeovers + 1, lease_token = $2,
            leased_until = now() + make_interval(secs => $3), revision = revision + 1,
            log = logged(log, attempt + 1, 'taken over by ' || $4 || ': the worker before was silent')
        FROM next WHERE jobs.id = next.id
        RETURNING {_LEASED}
        """,  # noqa: S608 - a constant
        tenant_id,
        uuid4(),
        lease_seconds,
        worker,
    )
    return [Lease(**row) for row in rows]


async def _take(
    connection: Connection, tenant_id: UUID, priority: int, lease_seconds: float, worker: str
) -> list[Lease]:
    rows = await connection.fetch(
        f"""
        WITH next AS (
            SELECT id, size_bytes, attempt = 0 AND NOT alone AND size_bytes <= $6 AS small FROM jobs
            WHERE tenant_id = $1 AND state = 'queued' AND priority = $5 AND run_at <= now()
            ORDER BY id LIMIT $7 FOR UPDATE SKIP LOCKED),
        counted AS (
            SELECT id, row_number() OVER places AS place, bool_and(small) OVER places AS small,
                sum(size_bytes) OVER places AS bytes
            FROM next WINDOW places AS (ORDER BY id))
        UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_token = $2,
            leased_until = now() + make_interval(secs => $3), started_at = coalesce(started_at, now()),
            revision = revision + 1, log = logged(log, attempt + 1, 'begun by ' || $4)
        FROM counted
        WHERE jobs.id = counted.id AND (place = 1 OR (counted.small AND bytes <= $8))
        RETURNING {_LEASED}
        """,  # noqa: S608 - a constant
        tenant_id,
        uuid4(),
        lease_seconds,
        worker,
        priority,
        SMALL_BYTES,
        TOGETHER,
        TOGETHER_BYTES,
    )
    return sorted((Lease(**row) for row in rows), key=lambda lease: lease.job_id)


async def others_wait(connection: Connection, passed_over: Collection[UUID]) -> bool:
    """Whether a job waits to be taken of a tenant that is not among `passed_over`. Needs the worker role."""
    found = await connection.fetchval(
        """
        SELECT 1 FROM turns t WHERE t.tenant_id <> ALL($1::uuid[])
          AND EXISTS (SELECT 1 FROM jobs j WHERE j.tenant_id = t.tenant_id
                      AND ((j.state = 'queued' AND j.run_at <= now())
                           OR (j.state = 'running' AND j.leased_until < now())))
        LIMIT 1
        """,
        list(passed_over),
    )
    return found is not None


async def hurried(connection: Connection, tenant_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the tenants that have a job waiting which is no part of an import. Needs the worker
    role."""
    rows = await connection.fetch(
        """
        SELECT t.id FROM unnest($1::uuid[]) AS t (id)
        WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.tenant_id = t.id AND j.state = 'queued' AND j.priority = 0
                      AND j.run_at <= now())
        """,
        list(tenant_ids),
    )
    return {row["id"] for row in rows}


async def renew(connection: Connection, leases: Mapping[UUID, UUID], lease_seconds: float) -> set[UUID]:
    """Make leases last, given as tokens by job; return the jobs still held. Needs the worker role."""
    rows = await connection.fetch(
        """
        UPDATE jobs SET leased_until = now() + make_interval(secs => $3)
        FROM unnest($1::uuid[], $2::uuid[]) AS held (id, token)
        WHERE jobs.id = held.id AND lease_token = held.token AND state = 'running' RETURNING jobs.id
        """,
        list(leases),
        list(leases.values()),
        lease_seconds,
    )
    return {row["id"] for row in rows}


async def enter(
    connection: Connection, token: UUID, job_ids: Sequence[UUID], stage: Stage, message: str = ""
) -> set[UUID]:
    """Record what the jobs of one token are doing, hold their rows; return those still held."""
    rows = await connection.fetch(
        """
        UPDATE jobs SET stage = $3, revision = revision + 1,
            log = CASE WHEN $4 = '' THEN log ELSE logged(log, attempt, $4) END
        WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'running' RETURNING id
        """,
        job_ids,
        token,
        stage,
        message,
    )
    return {row["id"] for row in rows}


class Progress(msgspec.Struct, frozen=True):
    """How far a job is, and what to tell of it in its log."""

    job_id: UUID
    chunks_done: int
    chunks_total: int
    message: str = ""


async def advance(
    connection: Connection, token: UUID, progress: Sequence[Progress], stage: Stage
) -> set[UUID]:
    """Record how far jobs of one token are, hold their rows; return those still held."""
    rows = await connection.fetch(
        """
        UPDATE jobs SET stage = $2, chunks_done = p.chunks_done, chunks_total = p.chunks_total, takeovers = 0,
            revision = revision + 1,
            log = CASE WHEN p.message = '' THEN log ELSE logged(log, attempt, p.message) END
        FROM unnest($3::uuid[], $4::int[], $5::int[], $6::text[])
            AS p (job_id, chunks_done, chunks_total, message)
        WHERE jobs.id = p.job_id AND lease_token = $1 AND state = 'running' RETURNING jobs.id
        """,
        token,
        stage,
        [each.job_id for each in progress],
        [each.chunks_done for each in progress],
        [each.chunks_total for each in progress],
        [each.message for each in progress],
    )
    return {row["id"] for row in rows}


async def finish(
    connection: Connection,
    token: UUID,
    job_ids: Sequence[UUID],
    state: JobState,
    message: str,
    error: ErrorData | None = None,
) -> set[UUID]:
    """End jobs of one token; return those whose lease was still held."""
    rows = await connection.fetch(
        """
        UPDATE jobs SET state = $3, error = $4, finished_at = now(), lease_token = NULL, leased_until = NULL,
            revision = revision + 1, log = logged(log, attempt, $5)
        WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'running' RETURNING id
        """,
        job_ids,
        token,
        state,
        msgspec.json.encode(error).decode() if error else None,
        message,
    )
    return {row["id"] for row in rows}


async def postpone(
    connection: Connection, lease: Lease, error: ErrorData, delay_seconds: float, *, counts: bool, alone: bool
) -> bool:
    """Give the job back, to be tried again after a delay; return whether the lease was still held."""
    status = await connection.execute(
        """
        UPDATE jobs SET state = 'queued', error = $3, run_at = now() + make_interval(secs => $4),
            failures = failures + $5::int, alone = $6, lease_token = NULL, leased_until = NULL,
            revision = revision + 1, log = logged(log, attempt, $7)
        WHERE id = $1 AND lease_token = $2 AND state = 'running'
        """,
        lease.job_id,
        lease.token,
        msgspec.json.encode(error).decode(),
        delay_seconds,
        int(counts),
        alone,
        f"{error.code}: {error.detail} Again in {delay_seconds:.1f} s{' by itself' if alone else ''}.",
    )
    return bool(status.endswith(" 1"))


async def release(
    connection: Connection, token: UUID, job_ids: Sequence[UUID], message: str, *, counts: bool
) -> None:
    """Give jobs of one token back at once, to be resumed by anybody; `counts` says whether as one more
    attempt."""
    await connection.execute(
        """
        UPDATE jobs SET state = 'queued', attempt = attempt - (NOT $4)::int, lease_token = NULL,
            leased_until = NULL, revision = revision + 1, log = logged(log, attempt, $3)
        WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'running'
        """,
        job_ids,
        token,
        message,
        counts,
    )
