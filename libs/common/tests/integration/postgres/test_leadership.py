"""Leadership on a real database: one at a time, and nobody for ever."""

import asyncio

from quarry_common.ids import new_id
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Database


async def expire(database: Database, task: str) -> None:
    async with database.worker_transaction() as connection:
        await connection.execute("UPDATE leaders SET leased_until = '-infinity' WHERE task = $1", task)


async def test_one_process_leads_until_it_gives_back(database: Database) -> None:
    task = str(new_id())
    one, other = (Leadership(database, task, seconds=60) for _ in range(2))

    assert await one.take()
    assert await one.take()
    assert not await other.take()
    await one.give_back()
    assert await other.take()


async def test_who_let_the_lease_run_out_leads_no_more(database: Database) -> None:
    task = str(new_id())
    # Short, so that the lease is asked for each time.
    frozen, heir = Leadership(database, task, seconds=0.001), Leadership(database, task, seconds=60)
    assert await frozen.take()
    await expire(database, task)

    assert await heir.take()
    await asyncio.sleep(0.001)
    assert not await frozen.take()
    await frozen.give_back()
    assert await heir.take()
