from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import msgspec

from quarry_common.contracts.documents import Job, JobState, Stage
from quarry_common.errors import ErrorData
from quarry_common.postgres.pool import Connection


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a job until it expires or is taken away. `token` fences every write."""

    job_id: UUID
    tenant_id: UUID
    document_id: UUID
    version: int
    collection: str
    token: UUID
    attempt: int
    failures: int
    takeovers: int
    chunks_done: int
    chunks_total: int | None
    traceparent: str
    created_at: datetime


_COLUMNS = """
    id, document_id, collection, title, version, state, stage, chunks_done, chunks_total, attempt, created_at,
    started_at, finished_at, error
"""


async def create(
    connection: Connection,
    tenant_id: UUID,
    job_id: UUID,
    document_id: UUID,
    version: int,
    collection: str,
    title: str,
    traceparent: str,
) -> None:
    """Queue the work of making a version searchable, and give its tenant a place in the turns."""
    await connection.execute(
        """
        INSERT INTO jobs (id, tenant_id, document_id, version, collection, title, traceparent)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        job_id,
        tenant_id,
        document_id,
        version,
        collection,
        title,
        traceparent,
    )
    await connection.execute("INSERT INTO turns (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", tenant_id)


async def find(connection: Connection, tenant_id: UUID, job_id: UUID) -> Job | None:
    """Return a job."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM jobs WHERE tenant_id = $1 AND id = $2",  # noqa: S608
        tenant_id,
        job_id,
    )
    return _job(row) if row else None


async def page(
    connection: Connection,
    tenant_id: UUID,
    *,
    state: JobState | None,
    document_id: UUID | None,
    before: UUID | None,
    limit: int,
) -> list[Job]:
    """Return jobs, newest first, that come after `before` in that order."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM jobs
        WHERE tenant_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR document_id = $3)
          AND ($4::uuid IS NULL OR id < $4)
        ORDER BY id DESC LIMIT $5
        """,  # noqa: S608
        tenant_id,
        state,
        document_id,
        before,
        limit,
    )
    return [_job(row) for row in rows]


async def of_version(connection: Connection, document_id: UUID, version: int) -> UUID | None:
    """Return the newest job of a version."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT id FROM jobs WHERE document_id = $1 AND version = $2 ORDER BY id DESC LIMIT 1",
        document_id,
        version,
    )


async def cancel(connection: Connection, document_id: UUID, *, queued_only: bool) -> list[Job]:
    """Cancel the open jobs of a document and take their leases away; return them as they are now."""
    rows = await connection.fetch(
        f"""
        UPDATE jobs SET state = 'cancelled', finished_at = now(), lease_token = NULL, leased_until = NULL
        WHERE document_id = $1 AND (state = 'queued' OR (state = 'running' AND NOT $2)) RETURNING {_COLUMNS}
        """,  # noqa: S608
        document_id,
        queued_only,
    )
    return [_job(row) for row in rows]


async def claim(connection: Connection, lease_seconds: float) -> Lease | None:
    """Lease the oldest job that may run, of the tenant that has waited longest; None when there is none.

    A job whose lease has expired is taken over. Needs the worker role: it looks at every tenant.
    """
    turn = await connection.fetchval(
        """
        SELECT t.tenant_id FROM turns t
        WHERE EXISTS (
            SELECT 1 FROM jobs j WHERE j.tenant_id = t.tenant_id
              AND ((j.state = 'queued' AND j.run_at <= now())
                   OR (j.state = 'running' AND j.leased_until < now())))
        ORDER BY t.claimed_at LIMIT 1 FOR UPDATE SKIP LOCKED
        """
    )
    if turn is None:
        return None
    row = await connection.fetchrow(
        """
        WITH next AS (
            SELECT id, state FROM jobs WHERE tenant_id = $1
              AND ((state = 'queued' AND run_at <= now()) OR (state = 'running' AND leased_until < now()))
            ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
        UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_token = $2,
            takeovers = takeovers + (next.state = 'running')::int,
            leased_until = now() + make_interval(secs => $3), started_at = coalesce(started_at, now())
        FROM next WHERE jobs.id = next.id
        RETURNING jobs.id AS job_id, tenant_id, document_id, version, collection, lease_token AS token,
            attempt, failures, takeovers, chunks_done, chunks_total, traceparent, created_at
        """,
        turn,
        uuid4(),
        lease_seconds,
    )
    await connection.execute("UPDATE turns SET claimed_at = clock_timestamp() WHERE tenant_id = $1", turn)
    return Lease(**row) if row else None


async def renew(connection: Connection, lease: Lease, lease_seconds: float) -> bool:
    """Make the lease last; return whether it is still held."""
    status = await connection.execute(
        """
        UPDATE jobs SET leased_until = now() + make_interval(secs => $3)
        WHERE id = $1 AND lease_token = $2 AND state = 'running'
        """,
        lease.job_id,
        lease.token,
        lease_seconds,
    )
    return _one(status)


async def advance(
    connection: Connection, lease: Lease, stage: Stage, *, done: int | None = None, total: int | None = None
) -> bool:
    """Record what the job is doing and how far it is; return whether the lease is still held."""
    status = await connection.execute(
        """
        UPDATE jobs SET stage = $3, chunks_done = coalesce($4, chunks_done),
            chunks_total = coalesce($5, chunks_total)
        WHERE id = $1 AND lease_token = $2 AND state = 'running'
        """,
        lease.job_id,
        lease.token,
        stage,
        done,
        total,
    )
    return _one(status)


async def hold(connection: Connection, lease: Lease) -> bool:
    """Hold the job's row until this transaction ends; return whether the lease is still held."""
    found = await connection.fetchval(
        "SELECT 1 FROM jobs WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR UPDATE",
        lease.job_id,
        lease.token,
    )
    return found is not None


async def finish(
    connection: Connection, lease: Lease, state: JobState, error: ErrorData | None = None
) -> bool:
    """End the job; return whether the lease was still held."""
    status = await connection.execute(
        """
        UPDATE jobs SET state = $3, error = $4, finished_at = now(), lease_token = NULL, leased_until = NULL
        WHERE id = $1 AND lease_token = $2 AND state = 'running'
        """,
        lease.job_id,
        lease.token,
        state,
        msgspec.json.encode(error).decode() if error else None,
    )
    return _one(status)


async def postpone(
    connection: Connection, lease: Lease, error: ErrorData, delay_seconds: float, *, counts: bool
) -> bool:
    """Give the job back, to be tried again after a delay; return whether the lease was still held."""
    status = await connection.execute(
        """
        UPDATE jobs SET state = 'queued', error = $3, run_at = now() + make_interval(secs => $4),
            failures = failures + $5::int, lease_token = NULL, leased_until = NULL
        WHERE id = $1 AND lease_token = $2 AND state = 'running'
        """,
        lease.job_id,
        lease.token,
        msgspec.json.encode(error).decode(),
        delay_seconds,
        int(counts),
    )
    return _one(status)


async def release(connection: Connection, lease: Lease) -> bool:
    """Give the job back at once, as a process does that is being stopped."""
    status = await connection.execute(
        """
        UPDATE jobs SET state = 'queued', lease_token = NULL, leased_until = NULL
        WHERE id = $1 AND lease_token = $2 AND state = 'running'
        """,
        lease.job_id,
        lease.token,
    )
    return _one(status)


def _one(status: str) -> bool:
    return status.endswith(" 1")


def _job(row: asyncpg.Record) -> Job:
    return Job(
        id=row["id"],
        document_id=row["document_id"],
        collection=row["collection"],
        title=row["title"],
        version=row["version"],
        state=JobState(row["state"]),
        stage=Stage(row["stage"]) if row["stage"] else None,
        chunks_done=row["chunks_done"],
        chunks_total=row["chunks_total"],
        attempt=row["attempt"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        error=msgspec.json.decode(row["error"], type=ErrorData) if row["error"] else None,
    )
