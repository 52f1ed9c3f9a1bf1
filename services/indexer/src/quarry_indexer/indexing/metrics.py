from prometheus_client import Counter, Gauge, Histogram

JOBS = Counter("indexing_jobs_total", "Jobs that a worker let go of.", ("outcome",))
ACTIVE = Gauge("indexing_jobs_active", "Jobs that this process is working on.")
CHUNKS = Counter("indexing_chunks_total", "Chunks embedded and written to the index.")
BATCH_SECONDS = Histogram(
    "indexing_batch_duration_seconds",
    "Time to embed and write one batch of chunks.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
PURGED = Counter("indexing_versions_purged_total", "Document versions removed from every store.")
