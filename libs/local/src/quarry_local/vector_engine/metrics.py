"""What the process counts, for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from quarry_local.vector_engine.store import Store

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class _CollectionSizes:
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        points = GaugeMetricFamily("vector_engine_points", "Points in a collection.", labels=["collection"])
        segments = GaugeMetricFamily(
            "vector_engine_segments", "Segments of a collection.", labels=["collection"]
        )
        for name, collection in self._store.collections.items():
            info = collection.shard.info()
            points.add_metric([name], info.points_count)
            segments.add_metric([name], info.segments_count)
        yield points
        yield segments


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
            "vector_engine_optimisation_journal_operations",
            "Operations that wait to be replayed on the copy.",
            labels=["collection"],
        )
        last = GaugeMetricFamily(
            "vector_engine_optimisation_last_done",
            "Whether the last optimisation was not given up.",
            labels=["collection"],
        )
        stall = GaugeMetricFamily(
            "vector_engine_optimisation_last_stall_seconds",
            "How long the last one's swap stopped the process at a time.",
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
                stall.add_metric([name], max(record.last.open_seconds, record.last.close_seconds))
        yield from (runs, seconds, journal, last, stall)


class Metrics:
    """The process's metrics; one registry per instance."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_CollectionSizes(store))
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

    def text(self) -> bytes:
        """Return every metric in Prometheus's text format."""
        return generate_latest(self._registry)
