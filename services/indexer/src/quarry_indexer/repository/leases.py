"""Statements of who works on a job: keeping a lease, and ending it. Each asks for the lease's token, so that
a worker which lost its lease changes nothing. Rows of several jobs are locked in the order of their ids: a
worker renews its leases while it writes what it has done, and neither may wait for the other in turn."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.errors import ErrorData
from quarry_common.postgres.pool import Connection


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


_MINE = """mine AS (
    SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'running'
    ORDER BY id FOR NO KEY UPDATE)
"""


async def renew(connection: Connection, leases: Mapping[UUID, UUID], lease_seconds: float) -> set[UUID]:
    """Make leases last, given as tokens by job; return the jobs still held. Needs the worker role."""
    rows = await connection.fetch(
        """
        WITH mine AS (
            SELECT jobs.id FROM jobs JOIN unnest($1::uuid[], $2::uuid[]) AS held (id, token)
                ON held.id = jobs.id AND held.token = lease_token
            WHERE state = 'running' ORDER BY jobs.id FOR NO KEY UPDATE OF jobs)
        UPDATE jobs SET leased_until = now() + make_interval(secs => $3)
        FROM mine WHERE jobs.id = mine.id RETURNING jobs.id
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
        f"""
        WITH {_MINE}
        UPDATE jobs SET stage = $3, revision = revision + 1,
            log = CASE WHEN $4 = '' THEN log ELSE logged(log, attempt, $4) END
        FROM mine WHERE jobs.id = mine.id RETURNING jobs.id
        """,  # noqa: S608 - a constant
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
        f"""
        WITH {_MINE}
        UPDATE jobs SET stage = $3, chunks_done = p.chunks_done, chunks_total = p.chunks_total, takeovers = 0,
            revision = revision + 1,
            log = CASE WHEN p.message = '' THEN log ELSE logged(log, attempt, p.message) END
        FROM mine JOIN unnest($1::uuid[], $4::int[], $5::int[], $6::text[])
            AS p (job_id, chunks_done, chunks_total, message) ON p.job_id = mine.id
        WHERE jobs.id = mine.id RETURNING jobs.id
        """,  # noqa: S608 - a constant
        [each.job_id for each in progress],
        token,
        stage,
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
        f"""
        WITH {_MINE}
        UPDATE jobs SET state = $3, error = $4, finished_at = now(), lease_token = NULL, leased_until = NULL,
            revision = revision + 1, log = logged(log, attempt, $5)
        FROM mine WHERE jobs.id = mine.id RETURNING jobs.id
        """,  # noqa: S608 - a constant
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
        f"""
        WITH {_MINE}
        UPDATE jobs SET state = 'queued', attempt = attempt - (NOT $4)::int, lease_token = NULL,
            leased_until = NULL, revision = revision + 1, log = logged(log, attempt, $3)
        FROM mine WHERE jobs.id = mine.id
        """,  # noqa: S608 - a constant
        job_ids,
        token,
        message,
        counts,
    )
