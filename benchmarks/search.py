"""Hybrid searches over HTTP on an index of a given size, sent by wrk; each query is embedded."""

import asyncio
import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import msgspec
import numpy as np
from benchmarks import embedder
from benchmarks.cpu import OWN, Meter
from benchmarks.texts import Writer
from tests.platform import Platform, Tenant

from quarry_common.embedding.bm25 import encode_document
from quarry_common.embedding.protocol import Embedder, Vectors
from quarry_common.vectors.points import ChunkPoint
from quarry_local.errors import MissingProgramError
from quarry_local.servers import binaries
from quarry_local.servers.binaries import Wanted

WRK = Wanted("wrk", "wrk, the load generator", "wrk", "wrk", "PATH")
SCRIPT = Path(__file__).with_name("search.lua")
CHUNK_WORDS = 130
CHUNKS_PER_DOCUMENT = 100
REAL_VECTORS = 600
REAL_WORDS = 24
LIMIT = 10
WARM_UP_SECONDS = 2
QUERIES = 40_000
GENERATOR = "wrk"

Tell = Callable[[str], None]


class Load(msgspec.Struct, frozen=True):
    """What wrk tells."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


class Round(msgspec.Struct, frozen=True):
    """One measurement."""

    load: Load
    cpu_ms_per_request: dict[str, float]
    load_average: float


class Clients(msgspec.Struct, frozen=True):
    """All rounds with so many clients; medians."""

    clients: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_request: dict[str, float]
    rounds: list[Round]


class Search(msgspec.Struct, frozen=True):
    """What was measured."""

    chunks: int
    bare_query_cpu_ms: float
    """CPU of embedding one query, in a process that does nothing else."""
    results_per_search: float
    by_clients: list[Clients]


def wrk(tell: Tell) -> Path:
    """Return the load generator, installed when it is missing; raises `MissingProgramError`."""
    try:
        if binaries.find(WRK) is None:
            binaries.install([WRK], tell)
        return binaries.require(WRK)
    except MissingProgramError as error:
        advice = "Install the package `wrk`, or leave searches out: `python -m benchmarks ingest`."
        raise MissingProgramError(error.data.detail, advice=advice) from None


async def measure(
    platform: Platform, *, chunks: int, rounds: int, seconds: int, clients: Sequence[int], tell: Tell
) -> Search:
    """Fill the index of a new tenant and search it."""
    program = wrk(tell)
    writer = Writer(seed=2)
    bare = embedder.make(8, len(os.sched_getaffinity(0))).embedder
    async with platform.tenant() as tenant:
        tell(f"search: writing {chunks} chunks to the index")
        await _fill(platform, tenant.id, writer, bare, chunks)
        queries = writer.queries(QUERIES)
        results = [len((await tenant.search(query, limit=LIMIT)).results) for query in queries[:20]]
        if not all(results):
            raise RuntimeError("a search found nothing: the index was not filled as intended")
        cost = median([embedder.query_cpu_ms(bare, queries[at : at + 30]) for at in (100, 200, 300)])
        file = platform.layout.var / "queries.jsonl"
        file.write_bytes(b"\n".join(msgspec.json.encode({"query": q, "limit": LIMIT}) for q in queries))
        sender = _Sender(program, platform, tenant, file)
        await asyncio.to_thread(sender.send, 2, WARM_UP_SECONDS)
        done: dict[int, list[Round]] = {count: [] for count in clients}
        for number in range(1, rounds + 1):
            for count in clients:
                one = await asyncio.to_thread(sender.send, count, seconds)
                done[count].append(one)
                tell(
                    f"search: {count} clients, round {number} of {rounds}: "
                    f"{one.load.requests / one.load.seconds:.0f} requests/s, p50 {one.load.p50_ms:.1f} ms"
                )
        return Search(
            chunks, cost, sum(results) / len(results), [_summary(count, all_) for count, all_ in done.items()]
        )


class _Sender:
    """Runs wrk; every query is sent once over all runs."""

    def __init__(self, program: Path, platform: Platform, tenant: Tenant, file: Path) -> None:
        self._program = program
        self._platform = platform
        self._environ = {"PATH": os.environ["PATH"], "BENCH_API_KEY": tenant.key}
        self._file = file
        self._sent = 0

    def send(self, clients: int, seconds: int) -> Round:
        command = [str(self._program), "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s"]
        command += [
            "-s",
            str(SCRIPT),
            f"{self._platform.url}/api/search",
            "--",
            str(self._file),
            str(self._sent),
        ]
        meter, generator = Meter(self._platform.state), _children_seconds()
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, timeout=seconds + 60, check=True
        )
        used = meter.seconds() | {GENERATOR: _children_seconds() - generator}
        load = msgspec.json.decode(done.stderr.strip().splitlines()[-1], type=Load)
        self._sent += load.requests + clients
        if load.refused or load.broken or not load.requests:
            raise RuntimeError(f"not every search was answered: {load}")
        if self._sent > QUERIES:
            raise RuntimeError(
                f"more than {QUERIES} searches: a query would be sent twice; ask for fewer seconds"
            )
        per_request = {name: value / load.requests * 1000 for name, value in used.items() if name != OWN}
        return Round(load, per_request, os.getloadavg()[0])


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _fill(platform: Platform, tenant_id: UUID, writer: Writer, bare: Embedder, chunks: int) -> None:
    topics = [writer.topic() for _ in range(REAL_VECTORS)]
    real = await asyncio.to_thread(bare.embed, [writer.text(topic, REAL_WORDS) for topic in topics])
    random = np.random.default_rng(3)
    async with platform.index(bare.id, bare.dimensions) as index:
        for start in range(0, chunks, CHUNKS_PER_DOCUMENT):
            document = uuid4()
            count = min(CHUNKS_PER_DOCUMENT, chunks - start)
            topic = int(random.integers(REAL_VECTORS))
            dense = _vectors(real, topic, count, random)
            points = [
                _point(tenant_id, document, ordinal, writer.text(topics[topic], CHUNK_WORDS), dense[ordinal])
                for ordinal in range(count)
            ]
            await index.upsert_inactive(points)
            await index.activate(tenant_id, [(document, 1)])
        written = await index.count(tenant_id, active=True)
    if written != chunks:
        raise RuntimeError(f"the index holds {written} chunks of {chunks}")


def _vectors(real: Vectors, topic: int, count: int, random: np.random.Generator) -> Vectors:
    """Return vectors between an embedded text of the topic and other embedded texts: embedding ten thousand
    chunks for real would take minutes, and what a search costs does not depend on the numbers in them.
    """
    others = real[random.integers(len(real), size=count)]
    share = random.uniform(0.05, 0.45, size=(count, 1)).astype(np.float32)
    mixed = (1 - share) * real[topic] + share * others
    unit: Vectors = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _point(tenant_id: UUID, document: UUID, ordinal: int, text: str, dense: Vectors) -> ChunkPoint:
    now = datetime.now(UTC)
    return ChunkPoint(
        tenant_id=tenant_id,
        document_id=document,
        version=1,
        ordinal=ordinal,
        collection="default",
        text=text,
        title="A generated document",
        heading_path=[],
        page=None,
        char_start=0,
        char_end=len(text),
        doc_type="text",
        tags=["generated"],
        metadata={"part": ordinal},
        external_id=str(document),
        source_url=None,
        allowed_principals=None,
        created_at=now,
        updated_at=now,
        dense=dense,
        sparse=encode_document(text),
    )


def _summary(clients: int, rounds: list[Round]) -> Clients:
    def middle(value: Callable[[Round], float]) -> float:
        return median(value(each) for each in rounds)

    names: Mapping[str, float] = rounds[0].cpu_ms_per_request
    return Clients(
        clients=clients,
        requests_per_second=middle(lambda each: each.load.requests / each.load.seconds),
        p50_ms=middle(lambda each: each.load.p50_ms),
        p99_ms=middle(lambda each: each.load.p99_ms),
        cpu_ms_per_request={
            name: median([each.cpu_ms_per_request[name] for each in rounds]) for name in names
        },
        rounds=rounds,
    )
