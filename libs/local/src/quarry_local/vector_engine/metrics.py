"""What the process counts, for Prometheus."""

import asyncio
from collections.abc import Iterator

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from quarry_common.errors import QuarryError
from quarry_local.vector_engine.collection import Collection
from quarry_local.vector_engine.store import Store
from quarry_local.vector_engine.wire.shards import ShardInfo

TELL_SECONDS = 2.0
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class _Shards:
    """What was last told of the shards: asking them takes a while, collecting must not."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[ShardInfo, int]] = {}
        """For each collection what its shard's process tells, and the bytes that are resident."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        points = GaugeMetricFamily("vector_engine_points", "Points in a collection.", labels=["collection"])
        segments = GaugeMetricFamily(
            "vector_engine_segments", "Segments of a collection.", labels=["collection"]
        )
        resident = GaugeMetricFamily(
            "vector_engine_shard_resident_bytes",
            "Memory of the process that holds a collection's shard.",
            labels=["collection"],
        )
        for name, (info, resident_bytes) in self.told.items():
            points.add_metric([name], info.points_count)
            segments.add_metric([name], info.segments_count)
            resident.add_metric([name], resident_bytes)
        yield from (points, segments, resident)


class _Optimisations:
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        runs = CounterMetricFamily(
            "vector_engine_optimisations",
            "Optimisations that ended, by how they ended.",
            labels=["collection", "result"],
        )
        seconds = CounterMetricFamily(
            "vector_engine_optimisation_seconds", "Time that they took.", labels=["collection"]
        )
        journal = GaugeMetricFamily(
            "vector_engine_optimisation_journal_writes",
            "Writes that wait to be replayed on the copy.",
            labels=["collection"],
        )
        last = GaugeMetricFamily(
            "vector_engine_optimisation_last_done",
            "Whether the last optimisation was not given up.",
            labels=["collection"],
        )
        swap = GaugeMetricFamily(
            "vector_engine_optimisation_last_swap_seconds",
            "How long writes waited for the swap of the last one.",
            labels=["collection"],
        )
        for name, collection in self._store.collections.items():
            record = collection.record
            for result, count in record.results.items():
                runs.add_metric([name, result], count)
            seconds.add_metric([name], record.seconds)
            journal.add_metric([name], len(collection.journal or ()))
            if record.last is not None:
                last.add_metric([name], record.last.result == "done")
                swap.add_metric([name], record.last.swap_seconds)
        yield from (runs, seconds, journal, last, swap)


class Metrics:
    """The process's metrics; one registry per instance."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shards = _Shards()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._shards)
        self._registry.register(_Optimisations(store))
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "vector_engine_requests_total",
            "Requests answered.",
            ["operation", "status"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "vector_engine_request_duration_seconds",
            "Time from the first byte of a request to its answer.",
            ["operation"],
            buckets=BUCKETS,
            registry=self._registry,
        )

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(operation, str(status)).inc()
        self._durations.labels(operation).observe(seconds)

    async def text(self) -> bytes:
        """Return every metric in Prometheus's text format, without the sizes of a shard that is too busy."""
        collections = list(self._store.collections.values())
        told = await asyncio.gather(*(_told(collection) for collection in collections))
        self._shards.told = {
            collection.name: each
            for collection, each in zip(collections, told, strict=True)
            if each is not None
        }
        return generate_latest(self._registry)


async def _told(collection: Collection) -> tuple[ShardInfo, int] | None:
    try:
        async with asyncio.timeout(TELL_SECONDS):
            info = await collection.describe()
        return info, psutil.Process(collection.shard.pid).memory_info().rss
    except (TimeoutError, QuarryError, psutil.NoSuchProcess):
        return None
