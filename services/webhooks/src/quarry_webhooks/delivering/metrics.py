"""Metrics of deliveries."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter("quarry_webhook_attempts_total", "Requests to endpoints, by how they ended.", ("outcome",))
ATTEMPT_SECONDS = Histogram(
    "quarry_webhook_attempt_duration_seconds",
    "Time of a request to an endpoint.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0),
)
IN_FLIGHT = Gauge("quarry_webhook_in_flight", "Requests to endpoints under way.")
ENDPOINTS_HELD = Gauge("quarry_webhook_endpoints_held", "Endpoints that this process delivers to now.")
LOST = Counter("quarry_webhook_leases_lost_total", "Endpoints that another process has taken over.")
DISABLED = Counter("quarry_webhook_endpoints_disabled_total", "Endpoints switched off, by why.", ("reason",))
DUE = Gauge("quarry_webhook_endpoints_due", "Endpoints with deliveries that are due, over all processes.")
OLDEST_DUE_SECONDS = Gauge(
    "quarry_webhook_oldest_due_seconds", "How long the endpoint has been due that has been so longest."
)
OPEN_CIRCUITS = Gauge("quarry_webhook_open_circuits", "Endpoints with deliveries that are left alone now.")
