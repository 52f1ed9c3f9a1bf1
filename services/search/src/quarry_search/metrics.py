from prometheus_client import Counter, Gauge, Histogram

from quarry_common.telemetry.metrics import BUCKETS_SECONDS

SEARCH_SECONDS = Histogram(
    "search_duration_seconds", "Time to answer a search.", ("mode",), buckets=BUCKETS_SECONDS
)
SEARCHES = Counter(
    "searches_total",
    "Searches by their outcome: found, nothing, or the code of the error.",
    ("mode", "outcome"),
)

RECORDED = Counter("searches_recorded_total", "Searches that the search log has acknowledged.")
UNRECORDED = Counter(
    "searches_unrecorded_total", "Answered searches that the search log does not hold; it is told how many."
)
UNSENT = Gauge("searches_unsent", "Searches that wait to be sent to the search log.")
