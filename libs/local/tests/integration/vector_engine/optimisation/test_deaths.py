"""Whoever dies during a run, nothing is lost and nothing is left."""

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from libs.local.tests.integration.vector_engine.conftest import Engine
from qdrant_client.http.exceptions import ResponseHandlingException

from .runs import (
    NAME,
    PAUSE_SECONDS,
    WAIT_SECONDS,
    Model,
    change,
    check,
    child_of,
    connected,
    create,
    fill,
    held_run,
    is_ready,
    optimise,
    point,
    shards,
    stored,
)


async def test_a_child_that_is_killed_changes_nothing(engine: Engine) -> None:
    source = random.Random(4)
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
        async with held_run(engine) as (child, run):
            await change(client, model, source)
            child.kill()
            report = await run

        assert report["result"] == "child"
        assert shards(engine) == ["shard"]
        await check(client, model)
        assert (await optimise(engine))["result"] == "done"
        await check(client, model)


@pytest.mark.parametrize("phase", ["copying", "opened", "replaying", "swapping", "swapped", "removing"])
async def test_an_engine_that_is_killed_in_a_run_loses_nothing(engine: Engine, phase: str) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
    engine.terminate()
    engine.module = "dying_engine"
    engine.environ |= {"DIE_AT": phase, "PYTHONPATH": str(Path(__file__).parent)}
    engine.start()
    async with connected(engine) as client:
        source = random.Random(5)
        key = 5_000
        run = asyncio.create_task(optimise(engine))
        with suppress(ResponseHandlingException):
            while True:
                written: Model = {}
                await client.upsert(NAME, [point(key, written, source)])
                model.update(written)
                key += 1
                await asyncio.sleep(PAUSE_SECONDS)
        with pytest.raises(httpx.TransportError):
            await run
    assert engine.process is not None
    assert engine.process.wait(WAIT_SECONDS) == -9
    engine.module = "quarry_local.vector_engine"

    engine.start()

    assert len(shards(engine)) == 1
    assert (shards(engine) == ["shard"]) == (phase not in {"swapped", "removing"})
    async with connected(engine) as client:
        # The one that was not acknowledged may be there.
        if key in await stored(client):
            model.update(written)
        await check(client, model)
        assert (await optimise(engine))["result"] == "done"
        await check(client, model)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends it on Linux only")
async def test_a_killed_engine_takes_its_child_with_it(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 3_000)
        run = asyncio.create_task(optimise(engine))
        async with asyncio.timeout(WAIT_SECONDS):
            while (child := child_of(engine)) is None or not is_ready(child):
                await asyncio.sleep(PAUSE_SECONDS)
        child.suspend()  # it cannot end by itself now
        engine.kill()
        with pytest.raises(httpx.TransportError):
            await run
    try:
        child.wait(WAIT_SECONDS)
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()

    engine.start()

    assert shards(engine) == ["shard"]
    async with connected(engine) as client:
        await check(client, model)


async def test_sigterm_ends_the_run_and_leaves_nothing_of_it(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 500)
        async with held_run(engine) as (child, run):
            assert await asyncio.to_thread(engine.terminate) == 0
            assert not child.is_running()
            assert (await run)["status"] == 503
    assert shards(engine) == ["shard"]
    engine.start()
    async with connected(engine) as client:
        await check(client, model)


async def test_what_a_run_left_is_removed_at_the_start(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 100)
    engine.kill()
    left = engine.path / "collections" / NAME / "shard-left" / "segments"
    left.mkdir(parents=True)

    engine.start()

    assert shards(engine) == ["shard"]
    async with connected(engine) as client:
        await check(client, model)
