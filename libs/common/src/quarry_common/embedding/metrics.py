from prometheus_client import Counter, Histogram

from quarry_common.telemetry.metrics import BUCKETS_SECONDS

EMBEDDER_REQUEST_SECONDS = Histogram(
    "quarry_embedder_request_duration_seconds",
    "Time of one request to the remote embedder, whatever came of it.",
    buckets=BUCKETS_SECONDS,
)
EMBEDDER_TEXTS = Counter(
    "quarry_embedder_texts_total", "Texts sent to the remote embedder, by what came of it.", ("outcome",)
)
EMBEDDER_LIMITED = Counter(
    "quarry_embedder_limited_total", "Times that the remote embedder told its callers to slow down."
)
