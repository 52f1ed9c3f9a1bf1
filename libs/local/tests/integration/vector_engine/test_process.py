"""The embedded engine as a process: what it keeps when it dies, and how it starts, refuses and stops."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from .conftest import Engine, running, shards_of

STOP_SECONDS = 15.0


@asynccontextmanager
async def connected(engine: Engine) -> AsyncIterator[AsyncQdrantClient]:
    client = AsyncQdrantClient(url=engine.url, timeout=30, check_compatibility=False)
    try:
        yield client
    finally:
        await client.close()


async def create(client: AsyncQdrantClient, name: str = "c") -> None:
    await client.create_collection(
        name, vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.DOT)}
    )


def point(key: int, **payload: object) -> models.PointStruct:
    return models.PointStruct(id=key, vector={"dense": [float(key), 1.0, 2.0, 3.0]}, payload=payload)


async def payloads(client: AsyncQdrantClient, name: str = "c") -> dict[object, object]:
    records, _ = await client.scroll(name, limit=10_000)
    return {record.id: record.payload for record in records}


async def write_until_killed(
    client: AsyncQdrantClient, expected: dict[object, object], enough: asyncio.Event
) -> int:
    """Write, change and delete points; `expected` holds what was acknowledged. Return the one in flight."""
    key = 0
    with suppress(ResponseHandlingException):
        while True:
            key += 1
            await client.upsert("c", [point(key, v=key), point(key + 1_000_000, v=key)])
            expected[key], expected[key + 1_000_000] = {"v": key}, {"v": key}
            if key % 3 == 0:
                await client.set_payload("c", {"seen": 1}, points=[key - 1])
                expected[key - 1] = {"v": key - 1, "seen": 1}
            if key % 5 == 0:
                await client.delete("c", [key - 3])
                del expected[key - 3]
            if key == 120:
                enough.set()
    return key


async def test_acknowledged_writes_survive_sigkill(engine: Engine) -> None:
    expected: dict[object, object] = {}
    async with connected(engine) as client:
        await create(client)
        await client.create_payload_index("c", "v", models.PayloadSchemaType.INTEGER)
        enough = asyncio.Event()
        writing = asyncio.create_task(write_until_killed(client, expected, enough))
        async with asyncio.timeout(60):
            await enough.wait()
            engine.kill()
            in_flight = await writing

    engine.start()

    async with connected(engine) as client:
        found = await payloads(client)
        schema = (await client.get_collection("c")).payload_schema
    uncertain = {
        key for near in (in_flight, in_flight - 1, in_flight - 3) for key in (near, near + 1_000_000)
    }
    assert {key: value for key, value in found.items() if key not in uncertain} == {
        key: value for key, value in expected.items() if key not in uncertain
    }
    assert len(expected) > 150
    assert set(schema) == {"v"}


async def test_a_large_upsert_survives_sigkill_with_its_flushes(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        for start in range(0, 20_000, 4_000):
            await client.upsert("c", [point(key, v=key) for key in range(start, start + 4_000)])
    engine.kill()

    engine.start()

    async with connected(engine) as client:
        assert (await client.count("c")).count == 20_000
        assert (await client.retrieve("c", [19_999]))[0].payload == {"v": 19_999}


async def test_a_refused_write_does_not_stop_the_next_start(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await client.upsert("c", [point(1, v=1)])
        with pytest.raises(UnexpectedResponse, match="No point with id 9 found"):
            await client.set_payload("c", {"w": 1}, points=[9])
        await client.set_payload("c", {"w": 2}, points=[1])
    engine.kill()

    engine.start()

    async with connected(engine) as client:
        assert await payloads(client) == {1: {"v": 1, "w": 2}}


async def test_collections_survive_sigkill_and_torn_ones_are_swept(engine: Engine) -> None:
    acknowledged: list[str] = []
    deleted: list[str] = []
    enough = asyncio.Event()

    async def create_until_killed(client: AsyncQdrantClient) -> None:
        with suppress(ResponseHandlingException):
            for number in range(1_000):
                await create(client, f"c{number}")
                acknowledged.append(f"c{number}")
                if number % 2:
                    await client.delete_collection(f"c{number - 1}")
                    deleted.append(f"c{number - 1}")
                if number == 8:
                    enough.set()

    async with connected(engine) as client:
        creating = asyncio.create_task(create_until_killed(client))
        async with asyncio.timeout(60):
            await enough.wait()
            engine.kill()
            await creating
    folder = engine.path / "collections"
    torn = folder / ".unfinished-torn" / "shard"
    torn.mkdir(parents=True)
    (folder / "half").mkdir()

    engine.start()

    async with connected(engine) as client:
        names = {item.name for item in (await client.get_collections()).collections}
        in_flight = {f"c{len(acknowledged)}", acknowledged[-1], acknowledged[-2]}
        assert names - in_flight == set(acknowledged) - set(deleted) - in_flight
        assert {item.name for item in folder.iterdir()} == names
        await create(client, "half")


async def test_sigterm_flushes_and_ends_with_zero(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await client.upsert("c", [point(1, v=1)])

        async with asyncio.timeout(STOP_SECONDS):
            code = await asyncio.to_thread(engine.terminate)

    assert code == 0
    engine.start()
    async with connected(engine) as client:
        assert await payloads(client) == {1: {"v": 1}}


async def test_sigterm_lets_running_requests_finish(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        points = [point(key, v=key) for key in range(8_000)]
        writing = asyncio.create_task(client.upsert("c", points))
        async with asyncio.timeout(30):
            while not (await client.count("c")).count:
                continue
            assert engine.process is not None
            engine.process.terminate()
            result = await writing
            code = await asyncio.to_thread(engine.process.wait, STOP_SECONDS)

    assert (result.status, code) == (models.UpdateStatus.COMPLETED, 0)
    engine.start()
    async with connected(engine) as client:
        assert (await client.count("c")).count == 8_000


async def test_a_shard_whose_process_dies_ends_the_engine_and_loses_nothing(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await client.upsert("c", [point(1, v=1)])
        (shard,) = shards_of(engine)
        shard.suspend()
        asked = asyncio.create_task(payloads(client))
        await asyncio.sleep(0.1)  # it has reached the process, which cannot answer
        shard.kill()

        with pytest.raises((UnexpectedResponse, ResponseHandlingException)):
            await asked
    assert engine.process is not None
    assert await asyncio.to_thread(engine.process.wait, STOP_SECONDS) == 1
    assert "the process that holds the shard of c has died" in engine.log.read_text()
    assert "Traceback" not in engine.log.read_text()

    engine.start()

    async with connected(engine) as client:
        assert await payloads(client) == {1: {"v": 1}}


async def test_the_processes_of_shards_end_with_the_engine(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client, "a")
        await create(client, "b")
        found = shards_of(engine)
        assert len(found) == 2
        await client.delete_collection("a")
        assert len(shards_of(engine)) == 1
    for process in shards_of(engine):
        process.suspend()  # it cannot end by itself now
    engine.kill()

    gone, _ = psutil.wait_procs(found, STOP_SECONDS)

    assert len(gone) == 2


def refused_start(path: Path, port: int) -> tuple[int, str]:
    command = Engine(path, port).command()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=STOP_SECONDS, check=False)
    return ended.returncode, ended.stderr


def test_a_folder_has_one_owner(shared_engine: Engine) -> None:
    assert shared_engine.process is not None
    code, error = refused_start(shared_engine.path, Engine(shared_engine.path).port)

    assert code == 1
    assert "belongs to another running vector engine" in error
    assert f"process {shared_engine.process.pid}" in error
    assert "Traceback" not in error


def test_the_owner_may_be_followed_after_its_death(tmp_path: Path) -> None:
    with running(tmp_path / "data") as first:
        first.kill()

        with running(first.path) as second:
            assert httpx.get(f"{second.url}/livez").status_code == 200


def test_a_port_in_use_is_one_clear_sentence(shared_engine: Engine, tmp_path: Path) -> None:
    code, error = refused_start(tmp_path / "other", shared_engine.port)

    assert code == 1
    assert error.strip() == (
        f"vector engine: cannot listen on 127.0.0.1:{shared_engine.port}: Address already in use; "
        "choose another port or stop what uses it"
    )


def test_a_folder_that_cannot_be_used_is_one_clear_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    code, error = refused_start(file / "data", Engine(file).port)

    assert code == 1
    assert f"the folder {file / 'data'} cannot be used" in error
    assert "Traceback" not in error


def test_it_tells_version_health_and_metrics(shared_engine: Engine) -> None:
    with httpx.Client(base_url=shared_engine.url) as http:
        about = http.get("/").json()
        health = {path: http.get(path).status_code for path in ("/healthz", "/readyz", "/livez")}
        http.put("/collections/measured", json={"vectors": {"size": 2, "distance": "Dot"}}).raise_for_status()
        http.put("/collections/measured/points", json={"points": [{"id": 1, "vector": [1, 2]}]})
        metrics = http.get("/metrics").text
        http.delete("/collections/measured").raise_for_status()

    assert (about["title"][:6], about["version"].count(".")) == ("qdrant", 2)
    assert health == {"/healthz": 200, "/readyz": 200, "/livez": 200}
    assert 'vector_engine_points{collection="measured"} 1.0' in metrics
    assert 'vector_engine_requests_total{operation="upsert",status="200"}' in metrics
    assert 'vector_engine_request_duration_seconds_bucket{le="0.1",operation="upsert"}' in metrics


TWO_DIMENSIONS = b'{"vectors":{"size":2,"distance":"Dot"}}'
SCROLL = "/collections/m/points/scroll"
INDEX = "/collections/m/index"

MALFORMED = [
    ("PUT", "/collections/x", b"{", 400, "JSON body"),
    ("PUT", "/collections/x", b'{"vectors":{"size":0,"distance":"Dot"}}', 400, "from 1 to"),
    ("PUT", "/collections/x", b'{"vectors":{"size":2,"distance":"Near"}}', 400, "Near"),
    ("PUT", "/collections/x", b'{"vectors":{"a":{"size":2,"distance":"Dot","nope":1}}}', 400, "nope"),
    ("PUT", "/collections/x", b"{}", 400, "at least one of vectors"),
    ("PUT", "/collections/x", b'{"sparse_vectors":{"s":{}},"shard_number":2}', 400, "shard_number"),
    ("PUT", "/collections/..%2Fx", TWO_DIMENSIONS, 404, "no operation"),
    ("PUT", "/collections/..%252Fx", TWO_DIMENSIONS, 400, "name"),
    ("PUT", "/collections/.x", TWO_DIMENSIONS, 400, "name"),
    ("PUT", "/collections/a%00b", TWO_DIMENSIONS, 400, "name"),
    ("PUT", "/collections/" + "n" * 300, TWO_DIMENSIONS, 400, "name"),
    ("GET", "/collections/..%2F..%2Fetc", b"", 404, "no operation"),
    ("GET", "/collections/..%5C..%5Cetc", b"", 404, "doesn't exist"),
    ("POST", "/collections/aliases", b"{}", 404, "no operation POST"),
    ("POST", "/collections/m/points/query/groups", b"{}", 404, "no operation"),
    ("POST", "/collections/m/points/query", b"[]", 400, "Expected `object`"),
    ("POST", "/collections/m/points/query", b'{"query":[1,2],"surprise":1}', 400, "surprise"),
    ("POST", "/collections/m/points/query", b'{"query":{"recommend":{"positive":[1]}}}', 400, "recommend"),
    ("POST", "/collections/m/points/query", b'{"query":[1,1e999]}', 400, "out of range"),
    ("POST", "/collections/m/points/query", b'{"query":[1,2],"limit":0}', 400, "limit"),
    ("POST", "/collections/m/points/query", b'{"query":[1,2],"limit":1000000}', 400, "limit"),
    ("POST", "/collections/m/points/query", b'{"query":"\xff"}', 400, "JSON body"),
    ("POST", "/collections/m/points/query?hurry=1", b'{"query":[1,2]}', 400, "hurry"),
    ("POST", SCROLL, b'{"filter":{"must":[{"key":"a"}]}}', 400, "condition"),
    ("POST", SCROLL, b'{"filter":{"must":[{"key":"a","match":{}}]}}', 400, "match"),
    ("POST", SCROLL, b'{"filter":{"must":[{"key":"a[","is_null":true}]}}', 400, "JSON path"),
    ("POST", SCROLL, b'{"filter":{"must":[{"key":"a","range":{"gt":"soon"}}]}}', 400, "date"),
    ("POST", SCROLL, b'{"filter":' + b'{"must":' * 30 + b"{}" + b"}" * 31, 400, "deeper"),
    ("POST", SCROLL, b'{"filter":' + b'{"must":' * 9000 + b"{}" + b"}" * 9001, 400, "deep"),
    ("POST", "/collections/m/points/delete", b"{}", 400, "exactly one"),
    ("POST", "/collections/m/points/delete", b'{"points":[-1]}', 400, "unsigned"),
    ("POST", "/collections/m/points/delete", b'{"points":["nobody"]}', 400, "UUID"),
    ("POST", "/collections/m/points/batch", b'{"operations":[{}]}', 400, "exactly one"),
    ("PUT", "/collections/m/points", b'{"points":[{"id":18446744073709551616,"vector":[1,2]}]}', 400, ""),
    ("PUT", "/collections/m/points", b'{"batch":{"ids":[1,2],"vectors":[[1,2]]}}', 400, "as long as"),
    ("PUT", INDEX, b'{"field_name":"a","field_schema":"geo"}', 400, "geo"),
    ("PUT", INDEX, b'{"field_name":"a","field_schema":{"type":"bool","lookup":true}}', 400, "lookup"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "says"), MALFORMED)
def test_a_request_that_is_wrong_is_refused_in_qdrants_form(
    shared_engine: Engine, method: str, path: str, body: bytes, status: int, says: str
) -> None:
    with httpx.Client(base_url=shared_engine.url) as http:
        http.put("/collections/m", json={"vectors": {"size": 2, "distance": "Dot"}})

        answer = http.request(method, path, content=body)

    assert answer.status_code == status, answer.text
    assert says in answer.json()["status"]["error"]
    assert set(answer.json()) == {"status", "time"}
    assert not (shared_engine.path.parent / "x").exists()


def test_a_body_over_the_limit_is_refused(shared_engine: Engine) -> None:
    def pieces() -> "list[bytes]":
        return [b" " * 1024 * 1024] * 34

    whole = httpx.put(f"{shared_engine.url}/collections/x/points", content=b"".join(pieces()))
    chunked = httpx.put(f"{shared_engine.url}/collections/x/points", content=iter(pieces()))

    assert (whole.status_code, chunked.status_code) == (413, 413)
    assert "limit" in whole.json()["status"]["error"]


async def test_reads_are_answered_while_a_large_write_is_applied(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        await client.upsert("c", [point(1)])
        writing = asyncio.create_task(client.upsert("c", [point(key) for key in range(2, 12_000)]))
        partial = 0
        async with asyncio.timeout(30):
            while not writing.done():
                partial += 1 < (await client.count("c")).count < 11_999

        assert partial > 0
        assert (await client.count("c")).count == 11_999


async def test_writes_from_many_clients_are_all_kept(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)

        await asyncio.gather(*(client.upsert("c", [point(key, v=key)]) for key in range(60)))

        assert await payloads(client) == {key: {"v": key} for key in range(60)}


async def test_a_write_to_a_collection_being_deleted_is_refused_not_lost(engine: Engine) -> None:
    async with connected(engine) as client:
        await create(client)
        results = await asyncio.gather(
            client.upsert("c", [point(key) for key in range(3_000)]),
            client.delete_collection("c"),
            client.upsert("c", [point(1)]),
            return_exceptions=True,
        )

        for result in results:
            if isinstance(result, UnexpectedResponse):
                assert result.status_code == 404
            else:
                assert not isinstance(result, BaseException)
        assert not await client.collection_exists("c")


def test_sigint_ends_like_sigterm(engine: Engine) -> None:
    assert engine.process is not None
    os.kill(engine.process.pid, signal.SIGINT)

    assert engine.process.wait(STOP_SECONDS) == 0
