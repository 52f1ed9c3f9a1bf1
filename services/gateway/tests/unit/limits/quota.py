"""Searching by a quota, and what the tenants service heard of it."""

from datetime import date
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from services.gateway.tests.usage_service import UsageService

from quarry_common.contracts.usage import LeaseSearches, SettleSearches
from quarry_gateway.limits.searches import SearchQuota

TENANT = uuid4()
TODAY = date(2026, 1, 31)
MUCH = 1_000_000


async def search(quota: SearchQuota, limit: int | None = MUCH, count: int = 1) -> None:
    async with quota.search(TENANT, limit, count):
        pass


async def fail(quota: SearchQuota, limit: int | None = MUCH, count: int = 1) -> None:
    with pytest.raises(ZeroDivisionError):
        async with quota.search(TENANT, limit, count):
            raise ZeroDivisionError


def leases(service: UsageService) -> list[LeaseSearches]:
    return [each for each in service.asked if isinstance(each, LeaseSearches)]


def lost() -> float:
    return REGISTRY.get_sample_value("usage_lost_total", {"what": "searches"}) or 0.0


def settled(service: UsageService) -> list[tuple[int | None, int, int]]:
    return [(s.limit, s.unused, s.answered) for s in service.asked if isinstance(s, SettleSearches)]
