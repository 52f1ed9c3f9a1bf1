from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from services.gateway.tests.usage_service import UsageService

from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.limits.searches import SearchQuota


class Time:
    """Both clocks, moved by the test: seconds of one that never goes back, and the time of day."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.moment = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def clock(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.moment

    def unix(self) -> float:
        return self.moment.timestamp()

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def service() -> UsageService:
    return UsageService()


@pytest.fixture
def quota(service: UsageService, time: Time) -> SearchQuota:
    return SearchQuota(cast(RpcClient, service), clock=time.clock, now=time.now)
