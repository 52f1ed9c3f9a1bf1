"""The optimised copy is opened in a process of its own: whatever that takes, nobody waits for it."""

import asyncio
import random
from contextlib import suppress

import psutil
import pytest
from libs.local.tests.integration.vector_engine.conftest import Engine, shards_of

from .runs import (
    PAUSE_SECONDS,
    WAIT_SECONDS,
    change,
    check,
    connected,
    create,
    fill,
    nearest,
    optimise,
    shards,
)


async def opening(engine: Engine, run: asyncio.Task[dict[str, object]]) -> psutil.Process:
    """Return the process that opens the copy, standing still."""
    (before,) = shards_of(engine)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            assert not run.done(), run.result()
            for process in shards_of(engine):
                if process != before:
                    process.suspend()
                    return process
            await asyncio.sleep(0.001)


async def test_reads_and_writes_go_on_while_the_copy_is_opened(engine: Engine) -> None:
    source = random.Random(8)
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
        (old,) = shards_of(engine)
        run = asyncio.create_task(optimise(engine))
        new = await opening(engine, run)
        try:
            await change(client, model, source)
            await check(client, model)
            assert not run.done()
        finally:
            new.resume()

        report = await run

        assert report["result"] == "done"
        assert report["journal_writes"]
        assert shards_of(engine) == [new]
        assert not old.is_running()
        # Whoever holds a shard holds the folder, too: it is free when all are gone.
        assert str(engine.path / "lock") in {file.path for file in new.open_files()}
        await check(client, model)


async def test_a_query_that_the_old_shard_was_asked_is_answered_by_it(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
        (old,) = shards_of(engine)
        run = asyncio.create_task(optimise(engine))
        new = await opening(engine, run)
        old.suspend()
        asked = asyncio.create_task(nearest(client, model[0][0], exact=True, limit=1))
        await asyncio.sleep(PAUSE_SECONDS)  # it has reached the old process, which cannot answer
        new.resume()
        async with asyncio.timeout(WAIT_SECONDS):
            while len(shards(engine)) == 2 and (await nearest_or_none(engine)) is None:
                await asyncio.sleep(PAUSE_SECONDS)
        assert not asked.done()
        old.resume()

        assert await asked == [0]
        assert (await run)["result"] == "done"
        assert shards_of(engine) == [new]


async def nearest_or_none(engine: Engine) -> object:
    """Return an answer if there is one: the old shard gives none while it stands still."""
    async with connected(engine) as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                return await nearest(client, [1.0] * 16, exact=True)
    return None


async def test_a_new_shard_that_dies_changes_nothing(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
        old = shards_of(engine)
        run = asyncio.create_task(optimise(engine))
        (await opening(engine, run)).kill()

        assert (await run)["result"] == "failed"
        assert (shards(engine), shards_of(engine)) == (["shard"], old)
        await check(client, model)
        assert (await optimise(engine))["result"] == "done"
        await check(client, model)


@pytest.mark.parametrize("signalled", ["terminated", "interrupted"])
async def test_a_signal_to_all_processes_is_the_engines_to_follow(engine: Engine, signalled: str) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 100)
        (shard,) = shards_of(engine)

        if signalled == "terminated":
            shard.terminate()
        else:
            shard.send_signal(2)

        await check(client, model)
    assert await asyncio.to_thread(engine.terminate) == 0
    assert not shard.is_running()
