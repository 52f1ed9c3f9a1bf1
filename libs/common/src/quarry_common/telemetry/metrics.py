"""Prometheus metrics that every process has; each subsystem declares its own beside its code."""

from importlib.metadata import version

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, Histogram, Info, generate_latest

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

CONTENT_TYPE = CONTENT_TYPE_LATEST

BUILD = Info("quarry_build", "What is running.")
READY = Gauge("quarry_ready", "1 while this process is ready for work.")
RPC_SECONDS = Histogram(
    "quarry_rpc_duration_seconds",
    "Time to answer a request of another service.",
    ("method", "outcome"),
    buckets=BUCKETS_SECONDS,
)
RPC_IN_FLIGHT = Gauge("quarry_rpc_in_flight", "Requests of other services that are being answered.")


def start(service: str) -> None:
    """Say which build this is."""
    BUILD.info({"service": service, "version": version("quarry-common")})


def exposition() -> bytes:
    """Return every metric of this process in Prometheus' text format."""
    return generate_latest()
