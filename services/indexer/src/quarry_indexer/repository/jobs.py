"""Statements of jobs as their owner sees them: queued, read, listed, cancelled, tried again, given up."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.jobs import (
    Job,
    JobDetail,
    JobFilter,
    JobState,
    LogLine,
    Priority,
    Stage,
)
from quarry_common.errors import ErrorData
from quarry_common.postgres.pool import Connection

PRIORITIES = {Priority.INTERACTIVE: 0, Priority.BULK: 1}
"""As they are stored: lower numbers come first."""
_BY_NUMBER = {number: priority for priority, number in PRIORITIES.items()}
PACE_SECONDS = 300
"""How far back the pace is looked at, by which the end of a job is estimated."""

_COLUMNS = """
    id, document_id, collection, title, version, state, stage, priority, chunks_done, chunks_total, attempt,
    revision, created_at, started_at, finished_at, run_at, error
"""


class NewJob(msgspec.Struct, frozen=True):
    """A job to be queued."""

    id: UUID
    document_id: UUID
    version: int
    collection: str
    title: str
    size_bytes: int
    priority: Priority
    traceparent: str


async def create(connection: Connection, tenant_id: UUID, jobs: Sequence[NewJob]) -> None:
    """Queue the work of making versions searchable, and give their tenant a place in the turns."""
    await connection.execute(
        """
        INSERT INTO jobs (id, tenant_id, document_id, version, collection, title, size_bytes, priority,
            traceparent, log)
        SELECT j.id, $1, j.document_id, j.version, j.collection, j.title, j.size_bytes, j.priority,
            j.traceparent, logged('[]', 0, 'queued')
        FROM unnest($2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::text[], $7::bigint[], $8::smallint[],
            $9::text[]) AS j (id, document_id, version, collection, title, size_bytes, priority, traceparent)
        """,
        tenant_id,
        [job.id for job in jobs],
        [job.document_id for job in jobs],
        [job.version for job in jobs],
        [job.collection for job in jobs],
        [job.title for job in jobs],
        [job.size_bytes for job in jobs],
        [PRIORITIES[job.priority] for job in jobs],
        [job.traceparent for job in jobs],
    )
    await give_turn(connection, tenant_id)


async def give_turn(connection: Connection, tenant_id: UUID) -> None:
    """Give a tenant a place in the turns. While another transaction does so for the first time, this one
    waits."""
    await connection.execute("INSERT INTO turns (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", tenant_id)


async def find(connection: Connection, tenant_id: UUID, job_id: UUID) -> JobDetail | None:
    """Return a job with its log."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS}, log FROM jobs WHERE tenant_id = $1 AND id = $2",  # noqa: S608
        tenant_id,
        job_id,
    )
    if row is None:
        return None
    return JobDetail(**_fields(row), log=msgspec.json.decode(row["log"], type=list[LogLine]))


class Pace(msgspec.Struct, frozen=True):
    """Where a job stands and how fast its tenant's jobs have ended of late."""

    before: int
    """Jobs that come before it."""
    finished: int
    """Jobs that ended in the last minutes."""
    seconds: float
    """In how many seconds they did."""


async def pace(connection: Connection, tenant_id: UUID, job: Job) -> Pace:
    """Return where a queued job stands in its tenant's queue, at what pace."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT count(*) FROM jobs WHERE tenant_id = $1 AND state = 'queued'
                    AND (priority, id) < ($2::smallint, $3)) AS before,
               recent.finished, recent.seconds
        FROM (SELECT count(*) AS finished,
                     coalesce(extract(epoch FROM now() - min(finished_at)), 0)::float8 AS seconds
              FROM jobs WHERE tenant_id = $1 AND finished_at > now() - make_interval(secs => $4)) recent
        """,
        tenant_id,
        PRIORITIES[job.priority],
        job.id,
        PACE_SECONDS,
    )
    return Pace(**row)


async def page(
    connection: Connection,
    tenant_id: UUID,
    *,
    state: JobState | None,
    chosen: JobFilter,
    dead: bool = False,
    before: UUID | None,
    limit: int,
) -> list[Job]:
    """Return jobs, newest first, that come after `before` in that order; with `dead` dead letters alone."""
    where, values = _chosen(chosen, [tenant_id, state, before, limit])
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM jobs
        WHERE tenant_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id < $3)
          {_DEAD if dead else ""} {where}
        ORDER BY id DESC LIMIT $4
        """,  # noqa: S608 - constants and parameters
        *values,
    )
    return [_job(row) for row in rows]


_DEAD = "AND state = 'failed' AND discarded_at IS NULL"


async def ids(
    connection: Connection, tenant_id: UUID, states: Sequence[JobState], chosen: JobFilter, limit: int
) -> list[UUID]:
    """Return the ids of jobs in one of `states`, oldest first; of failed ones those not discarded."""
    where, values = _chosen(chosen, [tenant_id, list(states), limit])
    rows = await connection.fetch(
        f"""
        SELECT id FROM jobs WHERE tenant_id = $1 AND state = ANY($2::text[]) AND discarded_at IS NULL {where}
        ORDER BY id LIMIT $3
        """,  # noqa: S608 - constants and parameters
        *values,
    )
    return [row["id"] for row in rows]


async def of_version(connection: Connection, document_id: UUID, version: int) -> UUID | None:
    """Return the newest job of a version."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT id FROM jobs WHERE document_id = $1 AND version = $2 ORDER BY id DESC LIMIT 1",
        document_id,
        version,
    )


async def cancel(
    connection: Connection,
    reason: str,
    *,
    job_ids: Sequence[UUID] | None = None,
    document_ids: Sequence[UUID] | None = None,
    queued_only: bool = False,
) -> list[Job]:
    """Cancel open jobs, by their ids or by their documents', and take their leases away; return them."""
    rows = await connection.fetch(
        f"""
        UPDATE jobs SET state = 'cancelled', finished_at = now(), lease_token = NULL, leased_until = NULL,
            revision = revision + 1, log = logged(log, attempt, $4)
        WHERE id IN (
            SELECT id FROM jobs
            WHERE ($1::uuid[] IS NULL OR id = ANY($1)) AND ($2::uuid[] IS NULL OR document_id = ANY($2))
              AND (state = 'queued' OR (state = 'running' AND NOT $3))
            ORDER BY id FOR NO KEY UPDATE)
        RETURNING {_COLUMNS}
        """,  # noqa: S608
        job_ids,
        document_ids,
        queued_only,
        reason,
    )
    return [_job(row) for row in rows]


async def owners(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the tenants of those of the ids that are of a job, or of a document that has one. Needs the
    worker role: whose they are is the question."""
    rows = await connection.fetch(
        """
        SELECT id, tenant_id FROM jobs WHERE id = ANY($1::uuid[])
        UNION
        SELECT document_id, tenant_id FROM jobs WHERE document_id = ANY($1::uuid[])
        """,
        ids,
    )
    return {row["id"]: row["tenant_id"] for row in rows}


async def requeue(connection: Connection, job_id: UUID) -> None:
    """Let a job that has ended begin anew."""
    await connection.execute(
        """
        UPDATE jobs SET state = 'queued', stage = NULL, run_at = now(), failures = 0, takeovers = 0,
            alone = false, chunks_done = 0, chunks_total = NULL, started_at = NULL, finished_at = NULL,
            discarded_at = NULL, revision = revision + 1, log = logged(log, attempt, 'queued again')
        WHERE id = $1
        """,
        job_id,
    )


async def discard(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Mark failed jobs as decided upon."""
    await connection.execute(
        """
        UPDATE jobs SET discarded_at = now(), revision = revision + 1, log = logged(log, attempt, 'discarded')
        WHERE id = ANY($1::uuid[]) AND state = 'failed'
        """,
        job_ids,
    )


def _chosen(chosen: JobFilter, values: list[Any]) -> tuple[str, list[Any]]:
    """Return conditions for `chosen`, and `values` with theirs behind."""
    parts: list[tuple[str, object]] = [
        ("id = ANY({}::uuid[])", chosen.job_ids),
        ("document_id = {}", chosen.document_id),
        ("collection = {}", chosen.collection),
        ("error ->> 'code' = {}", chosen.code),
        ("created_at >= {}", chosen.created_after),
        ("created_at < {}", chosen.created_before),
    ]
    given = [(condition, value) for condition, value in parts if value is not None]
    where = "".join(
        f" AND {condition.format(f'${len(values) + place}')}"
        for place, (condition, _) in enumerate(given, start=1)
    )
    return where, [*values, *(value for _, value in given)]


def _job(row: asyncpg.Record) -> Job:
    return Job(**_fields(row))


def _fields(row: asyncpg.Record) -> dict[str, Any]:
    state = JobState(row["state"])
    waits: datetime | None = row["run_at"] if state is JobState.QUEUED and row["attempt"] else None
    fields = {name: value for name, value in row.items() if name not in {"run_at", "log"}}
    return {
        **fields,
        "state": state,
        "stage": Stage(row["stage"]) if row["stage"] else None,
        "priority": _BY_NUMBER[row["priority"]],
        "next_attempt_at": waits,
        "error": msgspec.json.decode(row["error"], type=ErrorData) if row["error"] else None,
    }
