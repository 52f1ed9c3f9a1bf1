from prometheus_client import Counter, Histogram

from quarry_common.telemetry.metrics import BUCKETS_SECONDS

SEARCH_SECONDS = Histogram(
    "search_duration_seconds", "Time to answer a search.", ("mode",), buckets=BUCKETS_SECONDS
)
SEARCHES = Counter(
    "searches_total",
    "Searches by their outcome: found, nothing, or the code of the error.",
    ("mode", "outcome"),
)
