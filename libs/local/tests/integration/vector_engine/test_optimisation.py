"""A collection is optimised in a child while it is read and written, and no death loses anything."""

import asyncio
import math
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException

from .conftest import Engine, running

NAME = "c"
SIZE = 16
WAIT_SECONDS = 60.0
PAUSE_SECONDS = 0.02
"""Between the requests of a loop: the child gets only the time that nobody else wants."""

ONLY_WHEN_ASKED = {"VECTOR_OPTIMISE": "false"}
NO_BOUND = {"VECTOR_OPTIMISE_JOURNAL_POINTS": "10000000"}
TERM = 7
TENANT_A = models.Filter(
    must=[models.FieldCondition(key="tenant", match=models.MatchValue(value="a"))],
)
INDEXES: dict[str, models.KeywordIndexParams | models.IntegerIndexParams] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "active": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False),
}
Model = dict[int, tuple[list[float], dict[str, object]]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path / "data", **ONLY_WHEN_ASKED, **NO_BOUND) as engine:
        yield engine


@asynccontextmanager
async def connected(engine: Engine) -> AsyncIterator[AsyncQdrantClient]:
    client = AsyncQdrantClient(url=engine.url, timeout=60, check_compatibility=False)
    try:
        yield client
    finally:
        await client.close()


async def create(client: AsyncQdrantClient, size: int = SIZE) -> None:
    """Settings as Quarry's, but small collections get graphs too."""
    await client.create_collection(
        NAME,
        vectors_config={"dense": models.VectorParams(size=size, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=16, ef_construct=100, full_scan_threshold=10),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=10),
    )
    for field, schema in INDEXES.items():
        await client.create_payload_index(NAME, field, schema, wait=True)


def point(key: int, model: Model, source: random.Random, size: int = SIZE) -> models.PointStruct:
    vector = [source.gauss(0, 1) for _ in range(size)]
    payload: dict[str, object] = {"tenant": "ab"[key % 2], "active": key % 3, "n": key}
    model[key] = (vector, payload)
    sparse = models.SparseVector(indices=[TERM, 100 + key % 50], values=[1.0, 0.5])
    return models.PointStruct(id=key, vector={"dense": vector, "bm25": sparse}, payload=dict(payload))


async def fill(client: AsyncQdrantClient, count: int, size: int = SIZE) -> Model:
    model: Model = {}
    source = random.Random(1)
    for start in range(0, count, 500):
        keys = range(start, min(count, start + 500))
        await client.upsert(NAME, [point(key, model, source, size) for key in keys])
    return model


async def optimise(engine: Engine) -> dict[str, object]:
    async with httpx.AsyncClient(base_url=engine.url, timeout=WAIT_SECONDS) as http:
        answer = await http.post(f"/collections/{NAME}/optimize")
    result = answer.json().get("result", answer.json()["status"])
    assert isinstance(result, dict)
    return {**result, "status": answer.status_code}


async def metrics_of(engine: Engine) -> str:
    async with httpx.AsyncClient(base_url=engine.url) as http:
        return (await http.get("/metrics")).text


def child_of(engine: Engine) -> psutil.Process | None:
    assert engine.process is not None
    children = psutil.Process(engine.process.pid).children()
    # Between fork and exec it still has the engine's command line.
    return next((child for child in children if "optimisation.child" in " ".join(child.cmdline())), None)


def is_ready(child: psutil.Process) -> bool:
    """Whether it has done what it does first: to die with the engine, or before it."""
    return Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "800\n"


@asynccontextmanager
async def held_run(engine: Engine) -> AsyncIterator[tuple[psutil.Process, asyncio.Task[dict[str, object]]]]:
    """A run whose child stands still until the block ends."""
    run = asyncio.create_task(optimise(engine))
    async with asyncio.timeout(WAIT_SECONDS):
        while (child := child_of(engine)) is None:
            assert not run.done(), run.result()
            await asyncio.sleep(0.001)
    child.suspend()
    try:
        yield child, run
    finally:
        with suppress(psutil.NoSuchProcess):
            child.resume()


def shards(engine: Engine) -> list[str]:
    return sorted(path.name for path in (engine.path / "collections" / NAME).glob("shard*"))


async def stored(client: AsyncQdrantClient) -> dict[object, object]:
    records, _ = await client.scroll(NAME, limit=10_000)
    return {record.id: record.payload for record in records}


async def nearest(
    client: AsyncQdrantClient, vector: list[float], *, exact: bool, limit: int = 10
) -> list[models.ExtendedPointId]:
    found = await client.query_points(
        NAME,
        query=vector,
        using="dense",
        query_filter=TENANT_A,
        limit=limit,
        search_params=models.SearchParams(exact=exact, hnsw_ef=100),
        with_payload=False,
    )
    return [item.id for item in found.points]


def expected_nearest(model: Model, vector: list[float], limit: int = 10) -> list[int]:
    keys = [key for key, (_, payload) in model.items() if payload["tenant"] == "a"]
    matrix = np.array([model[key][0] for key in keys])
    scores = matrix @ np.array(vector) / np.linalg.norm(matrix, axis=1)
    return [keys[row] for row in np.argsort(-scores)[:limit]]


async def check(client: AsyncQdrantClient, model: Model) -> None:
    assert await stored(client) == {key: payload for key, (_, payload) in model.items()}
    source = random.Random(len(model))
    for _ in range(5):
        vector = [source.gauss(0, 1) for _ in range(SIZE)]
        assert await nearest(client, vector, exact=True) == expected_nearest(model, vector)


async def change(client: AsyncQdrantClient, model: Model, source: random.Random) -> None:
    """Change the collection and the model in every way, points of before and new ones."""
    keys = sorted(source.sample(sorted(model), 60))
    fresh = [max(model) + 1 + number for number in range(20)]
    upserted = fresh + keys[:10]
    await client.upsert(NAME, [point(key, model, source) for key in upserted])
    await client.delete(NAME, models.PointIdsList(points=list(keys[10:20])))
    for key in keys[10:20]:
        del model[key]
    await client.set_payload(NAME, {"seen": 1}, points=list(keys[20:30]))
    for key in keys[20:30]:
        model[key][1]["seen"] = 1
    await client.overwrite_payload(NAME, {"tenant": "a", "active": 2}, points=list(keys[30:40]))
    for key in keys[30:40]:
        model[key] = (model[key][0], {"tenant": "a", "active": 2})
    await client.delete_payload(NAME, ["n"], points=list(keys[40:50]))
    for key in keys[40:50]:
        model[key][1].pop("n", None)
    # By a filter: what it matches depends on everything before it.
    seen = models.Filter(must=[models.FieldCondition(key="seen", match=models.MatchValue(value=1))])
    await client.set_payload(NAME, {"active": 9}, points=seen)
    for _, payload in model.values():
        if payload.get("seen") == 1:
            payload["active"] = 9
    vector = [source.gauss(0, 1) for _ in range(SIZE)]
    await client.update_vectors(NAME, [models.PointVectors(id=keys[50], vector={"dense": vector})])
    model[keys[50]] = (vector, model[keys[50]][1])


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
        assert all(report["journal_operations"] for report in reports)
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


async def test_sigterm_ends_the_run_and_leaves_nothing_of_it(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        model = await fill(client, 500)
        async with held_run(engine) as (child, run):
            started = time.monotonic()
            assert await asyncio.to_thread(engine.terminate) == 0

            assert time.monotonic() - started < 15
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
