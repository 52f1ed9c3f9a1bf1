"""Chunks per second through HTTP until they can be found, beside the bare embedder on the same texts."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median

import msgspec
from benchmarks import embedder
from benchmarks.documents import SENDERS, SHORT_WORDS, Text, in_batches, open_jobs
from benchmarks.texts import Writer
from benchmarks.usage import Meter
from tests.platform import Platform, Tenant

from quarry_common.embedding.protocol import Embedder
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.domain.passage import embedded_text
from quarry_indexer.parsing.document import ParsedDocument

POLL_SECONDS = 0.1
DEADLINE_SECONDS = 600.0
LONG_DOCUMENT_WORDS = 1900
MIN_CHUNKS = 10
LONG_TARGET = 0.80
SHORT_TARGET = 0.60

Tell = Callable[[str], None]
Send = Callable[[], Awaitable[None]]


class Sample(msgspec.Struct, frozen=True):
    """A document to send and the texts that will be embedded of it."""

    title: str
    content: str
    embedded: list[str]


class Round(msgspec.Struct, frozen=True):
    """One measurement; rates are chunks per second."""

    chunks: int
    documents: int
    platform: float
    bare: float
    cpu_seconds: dict[str, float]
    load_average: float


class Kind(msgspec.Struct, frozen=True):
    """One kind of document over all rounds."""

    name: str
    platform_chunks_per_second: float
    bare_chunks_per_second: float
    ratio: float
    """Median of the rounds' own ratios."""
    target: float
    cpu_ms_per_chunk: dict[str, float]
    rounds: list[Round]


class Ingest(msgspec.Struct, frozen=True):
    """What was measured."""

    bare_batch_size: int
    bare_threads: int
    kinds: list[Kind]


async def measure(platform: Platform, rounds: int, chunks: int, tell: Tell) -> Ingest:
    """Send documents of at least ten chunks, then of one chunk, about `chunks` chunks in each round."""
    writer = Writer(seed=1)
    counter = embedder.make(8, 1).embedder
    tell("ingest: looking for the embedder's best batch size and threads")
    trial = await asyncio.to_thread(_long, writer, counter, embedder.TRIAL_TEXTS)
    best = await asyncio.to_thread(
        embedder.best, [text for sample in trial for text in sample.embedded], len(os.sched_getaffinity(0))
    )
    kinds = []
    async with platform.tenant() as tenant:
        await _one_by_one(tenant, trial, "warm-up")
        await _over(tenant)
        for name, target, make, send in (
            ("documents of 10 chunks or more", LONG_TARGET, _long, _one_by_one),
            ("documents of one chunk, in batches", SHORT_TARGET, _short, _in_batches),
        ):
            done = []
            for number in range(1, rounds + 1):
                samples = await asyncio.to_thread(make, writer, counter, chunks)
                sending = partial(send, tenant, samples, f"{make.__name__}{number}")
                done.append(await _round(platform, tenant, best, samples, sending))
                tell(
                    f"ingest: {name}, round {number} of {rounds}: {done[-1].platform:.1f} chunks/s, "
                    f"bare {done[-1].bare:.1f}"
                )
            kinds.append(_summary(name, target, done))
    return Ingest(best.batch_size, best.threads, kinds)


async def _round(
    platform: Platform, tenant: Tenant, bare: embedder.Bare, samples: Sequence[Sample], send: Send
) -> Round:
    texts = [text for sample in samples for text in sample.embedded]
    # Before and after: what else the machine does changes meanwhile.
    before = await asyncio.to_thread(embedder.rate, bare.embedder, texts[: len(texts) // 2])
    had = await _chunks(platform, tenant)
    meter, started = Meter(platform.state), time.perf_counter()
    await send()
    await _over(tenant)
    seconds = time.perf_counter() - started
    used = meter.seconds()
    after = await asyncio.to_thread(embedder.rate, bare.embedder, texts[len(texts) // 2 :])
    found = await _chunks(platform, tenant) - had
    if found != len(texts):
        raise RuntimeError(f"the platform made {found} chunks of what should give {len(texts)}")
    return Round(
        chunks=found,
        documents=len(samples),
        platform=found / seconds,
        bare=2 / (1 / before + 1 / after),
        cpu_seconds=used,
        load_average=os.getloadavg()[0],
    )


async def _one_by_one(tenant: Tenant, samples: Sequence[Sample], label: str) -> None:
    """Send the documents with some senders."""
    slots = asyncio.Semaphore(SENDERS)

    async def put(number: int, sample: Sample) -> None:
        async with slots:
            await tenant.client.put_document(f"{label}-{number}", title=sample.title, content=sample.content)

    async with asyncio.TaskGroup() as group:
        for number, sample in enumerate(samples):
            group.create_task(put(number, sample))


async def _in_batches(tenant: Tenant, samples: Sequence[Sample], label: str) -> None:
    """Send the documents a hundred at a time."""
    texts = [Text(f"{label}-{number}", sample.title, sample.content) for number, sample in enumerate(samples)]
    await in_batches(tenant.http, texts)


async def _over(tenant: Tenant) -> None:
    """Return when every job is over."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await open_jobs(tenant):  # noqa: ASYNC110 - other processes end them
            await asyncio.sleep(POLL_SECONDS)


async def _chunks(platform: Platform, tenant: Tenant) -> int:
    """Return how many chunks of the tenant can be found."""
    collection = await tenant.client.get_collection("default")
    async with platform.index(collection.embedder_id) as index:
        return await index.count(tenant.id, active=True)


def _long(writer: Writer, counter: Embedder, chunks: int) -> list[Sample]:
    found: list[Sample] = []
    while sum(len(sample.embedded) for sample in found) < chunks:
        sample = _sample(writer, counter, LONG_DOCUMENT_WORDS)
        if len(sample.embedded) < MIN_CHUNKS:
            raise RuntimeError(f"a long document gave only {len(sample.embedded)} chunks")
        found.append(sample)
    return found


def _short(writer: Writer, counter: Embedder, chunks: int) -> list[Sample]:
    samples = [_sample(writer, counter, SHORT_WORDS) for _ in range(chunks)]
    if any(len(sample.embedded) != 1 for sample in samples):
        raise RuntimeError("a short document gave more than one chunk")
    return samples


def _sample(writer: Writer, counter: Embedder, words: int) -> Sample:
    topic = writer.topic()
    title, content = writer.text(topic, 4).rstrip("."), writer.text(topic, words)
    parsed = ParsedDocument(text=content, doc_type="text", media_type="text/plain")
    chunks = chunk_document(parsed, ChunkOptions(), counter)
    embedded = [
        embedded_text(title, chunk.heading_path, content[chunk.char_start : chunk.char_end])
        for chunk in chunks
    ]
    return Sample(title, content, embedded)


def _summary(name: str, target: float, rounds: list[Round]) -> Kind:
    return Kind(
        name=name,
        target=target,
        platform_chunks_per_second=median(each.platform for each in rounds),
        bare_chunks_per_second=median(each.bare for each in rounds),
        ratio=median(each.platform / each.bare for each in rounds),
        cpu_ms_per_chunk={
            process: median(each.cpu_seconds[process] / each.chunks * 1000 for each in rounds)
            for process in rounds[0].cpu_seconds
        },
        rounds=rounds,
    )
