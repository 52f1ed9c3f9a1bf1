"""One platform for all tests of this folder; each test has tenants of its own."""

from collections.abc import AsyncIterator, Generator, Iterator

import pytest
from tests.platform import Platform, Tenant, complaints, running_platform
from tests.spans import Receiver, receiving


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Yield where the platform sends its spans."""
    with receiving() as running:
        yield running


@pytest.fixture(scope="session")
def platform(receiver: Receiver) -> Iterator[Platform]:
    """Yield the whole platform: servers and services as processes, as `quarry up` runs them.

    It records no trace of its own accord, only those that a caller began and marked as sampled.
    """
    settings = {
        "TELEMETRY_ENABLED": "true",
        "SAMPLING_RATE": "0",
        "OTLP_ENDPOINT": receiver.address,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "JOB_LEASE_SECONDS": "4",
        "HEALTH_CHECK_SECONDS": "1",
        "EVENT_STREAM_SECONDS": "20",
        "ANALYTICS_AGGREGATE_INTERVAL_SECONDS": "1",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOK_ALLOW_HTTP": "true",
    }
    with running_platform(settings) as running:
        yield running


@pytest.fixture
async def tenant(platform: Platform) -> AsyncIterator[Tenant]:
    """Yield a new tenant."""
    async with platform.tenant() as made:
        yield made


@pytest.fixture
async def other_tenant(platform: Platform) -> AsyncIterator[Tenant]:
    """Yield another new tenant."""
    async with platform.tenant() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the platform complained of beside a test that failed."""
    report = yield
    running = getattr(item, "funcargs", {}).get("platform")
    if report.failed and isinstance(running, Platform):
        report.sections.append(("the platform's complaints", complaints(running.layout)))
    return report
