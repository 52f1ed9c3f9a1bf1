"""A collection is optimised while it is read and written: what is found before, during and after a run."""

import asyncio
import math
import random

import pytest
from libs.local.tests.integration.vector_engine.conftest import Engine
from qdrant_client import models

from .runs import (
    NAME,
    PAUSE_SECONDS,
    change,
    check,
    connected,
    create,
    fill,
    held_run,
    nearest,
    optimise,
    shards,
)


async def test_results_agree_with_a_model_before_during_and_after_a_run(engine: Engine) -> None:
    source = random.Random(2)
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 2_000)
        await check(client, model)

        async with held_run(engine) as (_, run):
            for _ in range(3):
                await change(client, model, source)
            await check(client, model)
            assert not run.done()
        report = await run

        assert (report["result"], report["optimised"]) == ("done", True)
        await check(client, model)
        await change(client, model, source)
        await check(client, model)
        assert len(shards(engine)) == 1
        assert shards(engine) != ["shard"]
    engine.kill()

    engine.start()

    async with connected(engine) as client:
        await check(client, model)


async def test_writes_that_begin_before_a_run_and_end_after_it_are_kept(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_000)
        ended = asyncio.Event()

        async def write() -> int:
            source, rounds = random.Random(7), 0
            while not ended.is_set():
                await change(client, model, source)
                rounds += 1
                await asyncio.sleep(PAUSE_SECONDS)
            return rounds

        writing = asyncio.create_task(write())
        reports = [await optimise(engine), await optimise(engine)]
        ended.set()

        assert await writing > 1
        assert [report["result"] for report in reports] == ["done", "done"]
        assert all(report["journal_writes"] for report in reports)
        await check(client, model)


async def test_queries_are_answered_while_the_child_works(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 2_000)
        async with held_run(engine) as (_, run):
            for key in (0, 2, 4):
                assert (await nearest(client, model[key][0], exact=True, limit=1)) == [key]
            assert (await client.get_collection(NAME)).status == models.CollectionStatus.YELLOW
        answered = 0
        while not run.done():
            answered += len(await nearest(client, model[0][0], exact=False)) == 10
            await asyncio.sleep(PAUSE_SECONDS)

        assert (await run)["result"] == "done"
        assert answered > 0
        assert (await client.get_collection(NAME)).status == models.CollectionStatus.GREEN


async def test_indexes_and_integer_flags_survive_a_run(engine: Engine) -> None:
    inactive = models.Filter(must=[models.FieldCondition(key="active", match=models.MatchValue(value=0))])
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 1_500)
        before = await client.get_collection(NAME)

        assert (await optimise(engine))["result"] == "done"

        after = await client.get_collection(NAME)
        assert after.payload_schema == before.payload_schema
        assert after.config == before.config
        assert after.indexed_vectors_count == 2 * 1_500
        expected = sum(payload["active"] == 0 for _, payload in model.values())
        assert (await client.count(NAME, inactive)).count == expected
        tenant = after.payload_schema["tenant"].params
        assert isinstance(tenant, models.KeywordIndexParams)
        assert tenant.is_tenant


async def test_the_graph_finds_what_an_exact_search_finds(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client, size=48)
        await fill(client, 6_000, size=48)
        assert (await optimise(engine))["optimised"] is True
        source = random.Random(3)
        found = total = 0
        for _ in range(60):
            vector = [source.gauss(0, 1) for _ in range(48)]
            exact = await nearest(client, vector, exact=True)
            found += len(set(exact) & set(await nearest(client, vector, exact=False)))
            total += len(exact)

    assert found / total >= 0.97


async def test_idf_does_not_count_what_was_deleted_before_a_run(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await fill(client, 1_000)
        # What every point has is worth little, what a few have much: 20 points of 1,000, then of 200.
        await client.delete(NAME, models.PointIdsList(points=list(range(200, 1_000))))

        assert (await optimise(engine))["result"] == "done"

        query = models.SparseVector(indices=[101], values=[1.0])
        found = await client.query_points(NAME, query=query, using="bm25", limit=1)
    with_term = sum(key % 50 == 1 for key in range(200))
    assert found.points[0].score == pytest.approx(
        0.5 * math.log((200 - with_term + 0.5) / (with_term + 0.5) + 1), rel=1e-4
    )
