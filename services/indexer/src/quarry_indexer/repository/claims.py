"""Statements that take jobs: whose turn it is, which job is next, and who waits. They look at every tenant,
as the worker role."""

from collections.abc import Collection
from uuid import UUID, uuid4

from quarry_common.postgres.pool import Connection
from quarry_indexer.repository.jobs import PRIORITIES
from quarry_indexer.repository.leases import Lease

BULK_EVERY = 4
"""Every so many turns of a tenant go to its imports first, so that they come to an end."""
TOGETHER = 32
"""Small documents of one tenant that a worker takes at once."""
SMALL_BYTES = 16 * 1024
TOGETHER_BYTES = 128 * 1024


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
