"""When a run begins, what it may take, and what ends it."""

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from libs.local.tests.integration.vector_engine.conftest import Engine, running
from qdrant_client import models

from .runs import (
    NAME,
    ONLY_WHEN_ASKED,
    PAUSE_SECONDS,
    WAIT_SECONDS,
    change,
    check,
    child_of,
    connected,
    create,
    fill,
    held_run,
    metrics_of,
    optimise,
    shards,
)


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of Linux")
async def test_the_child_lets_everyone_else_go_first(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await fill(client, 3_000)
        run = asyncio.create_task(optimise(engine))
        seen: set[tuple[int, object]] = set()
        while not run.done():
            await asyncio.sleep(PAUSE_SECONDS)
            with suppress(psutil.NoSuchProcess):
                if (child := child_of(engine)) is not None:
                    seen.add((child.nice(), child.ionice().ioclass))

        assert (await run)["result"] == "done"
        assert (19, psutil.IOPRIO_CLASS_IDLE) in seen


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"VECTOR_OPTIMISE_JOURNAL_POINTS": "10"}, "journal"),
        ({"VECTOR_OPTIMISE_DEADLINE_SECONDS": "1.5"}, "deadline"),
        ({"VECTOR_OPTIMISE_COPY_SECONDS": "0.000001"}, "copy"),
    ],
)
async def test_a_run_over_a_limit_is_given_up_and_changes_nothing(
    tmp_path: Path, environ: dict[str, str], reason: str
) -> None:
    source = random.Random(6)
    with running(tmp_path / "data", **ONLY_WHEN_ASKED, **environ) as engine:
        async with connected(engine) as client:
            await create(client)
            model = await fill(client, 500)
            if reason == "copy":
                report = await optimise(engine)
            else:
                async with held_run(engine) as (child, run):
                    await change(client, model, source)
                    report = await run
                    assert not child.is_running()

            assert report["result"] == reason
            assert shards(engine) == ["shard"]
            await check(client, model)
            metrics = await metrics_of(engine)
    assert f'vector_engine_optimisations_total{{collection="c",result="{reason}"}} 1.0' in metrics
    assert 'vector_engine_optimisation_last_done{collection="c"} 0.0' in metrics


async def test_a_collection_is_optimised_by_itself_when_enough_has_changed(tmp_path: Path) -> None:
    environ = {"VECTOR_OPTIMISE_CHECK_SECONDS": "0.05", "VECTOR_OPTIMISE_CHANGED_POINTS": "1000"}
    with running(tmp_path / "data", **environ) as engine:
        async with connected(engine) as client:
            await create(client)
            model = await fill(client, 1_000)
            async with asyncio.timeout(WAIT_SECONDS):
                while shards(engine) == ["shard"] or len(shards(engine)) != 1:
                    await asyncio.sleep(0.02)

            await check(client, model)
            metrics = await metrics_of(engine)
    assert 'vector_engine_optimisations_total{collection="c",result="done"}' in metrics


async def test_points_that_were_written_before_a_restart_count(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
    engine.terminate()
    engine.environ = {"VECTOR_OPTIMISE_CHECK_SECONDS": "0.05", "VECTOR_OPTIMISE_CHANGED_POINTS": "1000"}

    engine.start()

    async with asyncio.timeout(WAIT_SECONDS):
        while shards(engine) == ["shard"] or len(shards(engine)) != 1:
            await asyncio.sleep(PAUSE_SECONDS)
    async with connected(engine) as client:
        await check(client, model)


async def test_a_second_call_joins_the_run(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await fill(client, 500)
        async with held_run(engine) as (_, first):
            second = asyncio.create_task(optimise(engine))
            await client.count(NAME)

        assert await first == await second


async def test_deleting_the_collection_ends_its_run(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await fill(client, 500)
        async with held_run(engine) as (child, run):
            await client.delete_collection(NAME)

            assert not child.is_running()
            assert (await run)["status"] == 503
        assert list((engine.path / "collections").iterdir()) == []
        await create(client)
        await check(client, await fill(client, 100))


async def test_new_settings_end_the_run_and_the_next_one_follows_them(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
        async with held_run(engine) as (child, run):
            await client.update_collection(NAME, hnsw_config=models.HnswConfigDiff(payload_m=8))
            assert not child.is_running()
            assert (await run)["status"] == 503

        assert shards(engine) == ["shard"]
        assert (await optimise(engine))["result"] == "done"
        await check(client, model)
        assert (await client.get_collection(NAME)).config.hnsw_config.payload_m == 8
