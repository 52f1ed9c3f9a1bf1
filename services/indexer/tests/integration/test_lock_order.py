"""A worker renews its leases while it writes what it has done: neither waits for the other in turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import asyncpg
import pytest

from quarry_common.contracts.jobs import JobState, Stage
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Connection, Database, connect_pool
from quarry_common.settings import load
from quarry_indexer.repository import jobs, leases
from quarry_indexer.repository.leases import Progress
from quarry_indexer.settings import IndexerSettings

from .conftest import until

JOBS = 5


@pytest.fixture
async def database(environment: dict[str, str]) -> AsyncIterator[Database]:
    async with connect_pool(load(IndexerSettings, environment), "indexer") as found:
        yield found


@pytest.fixture
async def admin(environment: dict[str, str]) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    found = await asyncpg.connect(environment["MIGRATE_DATABASE_URL"])
    yield found
    await found.close()


async def running_jobs(
    admin: "asyncpg.Connection[asyncpg.Record]", tenant_id: UUID, token: UUID
) -> list[UUID]:
    ids = sorted(new_id() for _ in range(JOBS))
    for job_id in reversed(ids):
        await admin.execute(
            """
            INSERT INTO indexer.documents (id, tenant_id, collection, latest_version)
            VALUES ($1, $2, 'd', 1)
            """,
            job_id,
            tenant_id,
        )
        await admin.execute(
            """
            INSERT INTO indexer.jobs
                (id, tenant_id, document_id, version, collection, title, state, lease_token, leased_until)
            VALUES ($1, $2, $1, 1, 'd', '', 'running', $3, now() + interval '1 minute')
            """,
            job_id,
            tenant_id,
            token,
        )
    return ids


async def without(connection: Connection, *methods: str) -> None:
    """Let Postgres find rows by other methods: by its own choice the order differs when a table is large."""
    for method in methods:
        await connection.execute(f"SET LOCAL enable_{method} = off")


Write = Callable[[Connection, UUID, list[UUID]], Awaitable[object]]
WRITES: dict[str, Write] = {
    "enter": lambda connection, token, ids: leases.enter(connection, token, ids, Stage.EMBED),
    "advance": lambda connection, token, ids: leases.advance(
        connection, token, [Progress(job_id, 1, 1) for job_id in ids], Stage.EMBED
    ),
    "finish": lambda connection, token, ids: leases.finish(
        connection, token, ids, JobState.SUCCEEDED, "done"
    ),
    "cancel": lambda connection, _token, ids: jobs.cancel(connection, "unwanted", job_ids=ids),
    "release": lambda connection, token, ids: leases.release(connection, token, ids, "back", counts=True),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_renewing_leases_and_writing_for_them_wait_in_one_order(
    write: Write, database: Database, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant_id, token = new_id(), uuid4()
    ids = await running_jobs(admin, tenant_id, token)

    async def writing() -> None:
        async with database.tenant_transaction(tenant_id) as connection:
            await without(connection, "seqscan", "bitmapscan")
            await write(connection, token, ids)

    async def renewing() -> None:
        async with database.worker_transaction() as connection:
            await without(connection, "indexscan", "indexonlyscan", "bitmapscan")
            await leases.renew(connection, dict.fromkeys(ids, token), 60)

    async def both_wait() -> bool:
        return await waiting(admin) == 2

    async with database.tenant_transaction(tenant_id) as connection:
        # Both come as far as the job in the middle, and there they wait.
        await connection.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", ids[JOBS // 2])
        tasks = [asyncio.create_task(writing()), asyncio.create_task(renewing())]
        await until(both_wait, 10)

    await asyncio.wait_for(asyncio.gather(*tasks), 20)


async def waiting(admin: "asyncpg.Connection[asyncpg.Record]") -> int:
    return int(
        await admin.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        )
    )
