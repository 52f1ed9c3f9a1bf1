"""The embedder by itself: what the platform is measured against."""

import time
from collections.abc import Iterator, Sequence

import msgspec

from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.protocol import Embedder
from quarry_common.embedding.settings import EmbedderSettings
from quarry_common.settings import load

BATCH_SIZES = (4, 8, 16)
TRIAL_TEXTS = 32


class Bare(msgspec.Struct, frozen=True):
    """An embedder and what it was made with."""

    embedder: Embedder
    batch_size: int
    threads: int


def make(batch_size: int, threads: int) -> Bare:
    values = {"EMBEDDER_BATCH_SIZE": str(batch_size), "EMBEDDER_THREADS": str(threads)}
    return Bare(load_embedder(load(EmbedderSettings, values)), batch_size, threads)


def for_queries() -> Embedder:
    """Return the embedder as searches use it."""
    return load_embedder(load(EmbedderSettings, {"EMBEDDER_THREADS": "1"}), queries=True)


def best(texts: Sequence[str], cores: int) -> Bare:
    """Return the fastest of all batch sizes and thread counts on some of `texts`."""
    trial = texts[:TRIAL_TEXTS]
    return max(_candidates(cores), key=lambda bare: rate(bare.embedder, trial))


def rate(embedder: Embedder, texts: Sequence[str]) -> float:
    """Return how many of `texts` are embedded in a second."""
    started = time.perf_counter()
    embedder.embed(texts)
    return len(texts) / (time.perf_counter() - started)


def query_cpu_ms(embedder: Embedder, queries: Sequence[str]) -> float:
    """Return the CPU milliseconds of one query's vector, embedded alone as a search does."""
    started = time.process_time()
    for query in queries:
        embedder.embed([query])
    return (time.process_time() - started) / len(queries) * 1000


def _candidates(cores: int) -> Iterator[Bare]:
    for threads in sorted({1, cores}):
        for batch_size in BATCH_SIZES:
            yield make(batch_size, threads)
