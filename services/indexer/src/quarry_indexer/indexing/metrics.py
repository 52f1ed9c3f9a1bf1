from prometheus_client import Counter, Gauge, Histogram

JOBS = Counter("indexing_jobs_total", "Jobs that a worker let go of.", ("outcome",))
ACTIVE = Gauge("indexing_jobs_active", "Bundles of jobs that this process is working on.")
CHUNKS = Counter("indexing_chunks_total", "Chunks written to the index.")
EMBEDDINGS = Counter("indexing_embeddings_total", "Vectors of chunks, by where they came from.", ("source",))
BATCH_SECONDS = Histogram(
    "indexing_batch_duration_seconds",
    "Time to embed and write one batch of chunks.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
PURGED = Counter("indexing_versions_purged_total", "Document versions removed from every store.")
ORPHANS = Counter("indexing_orphans_removed_total", "Blobs and points that nothing named.", ("store",))
DRIFT = Gauge(
    "indexing_index_drift_points",
    "Points by which the index differed from Postgres when it was last inspected, over all tenants.",
    ("kind",),
)
RECOUNT_CORRECTIONS = Counter(
    "quota_recount_corrections_total", "Tenants whose documents or bytes were found miscounted."
)
