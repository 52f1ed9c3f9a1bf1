"""A collection that is optimised, a model of it, and runs that can be held."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
from libs.local.tests.integration.vector_engine.conftest import Engine
from qdrant_client import AsyncQdrantClient, models

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
