"""The tenants service's part in quotas and key usage, answered from memory as its contract says."""

import asyncio
from collections import Counter, defaultdict, deque
from datetime import date
from typing import Any
from uuid import UUID

from quarry_common.contracts.api_keys import REPORT_KEY_USE, ReportKeyUse
from quarry_common.contracts.rpc import Nothing, RpcMethod
from quarry_common.contracts.usage import (
    LEASE_SEARCHES,
    REPORT_SEARCHES,
    SETTLE_SEARCHES,
    LeaseSearches,
    ReportSearches,
    SearchLease,
    SearchTally,
    SettleSearches,
)
from quarry_common.errors import DeadlineExceededError, UnavailableError


class SearchDayCount:
    def __init__(self) -> None:
        self.leased = 0
        """Granted and not given back: answered, or with a gateway."""
        self.answered = 0
        self.unlimited = 0
        """Answered without a quota; they are among the answered."""


class UsageService:
    """Answers like the service, or does not: `faults` says what becomes of the next requests."""

    def __init__(self) -> None:
        self.days: dict[tuple[UUID, date], SearchDayCount] = defaultdict(SearchDayCount)
        self.asked: list[LeaseSearches | SettleSearches] = []
        """What was worked on, repetitions left out."""
        self.tallies: list[SearchTally] = []
        self.requests = 0
        self.keys: Counter[tuple[UUID, UUID, date]] = Counter()
        self.denied: Counter[tuple[UUID, UUID, date]] = Counter()
        self.reports: list[ReportKeyUse] = []
        self.faults: deque[str] = deque()
        """`lost`: it does not arrive. `unanswered`: it is worked on, and the answer does not arrive."""
        self.away = False
        self._leases: dict[UUID, int] = {}
        self._reports: set[UUID] = set()

    async def lease(self, asked: LeaseSearches) -> SearchLease:
        if asked.lease_id not in self._leases:
            day = self.days[asked.tenant_id, asked.day]
            day.answered += asked.answered
            left = (asked.limit or 0) - day.leased - day.unlimited
            granted = 0 if left < asked.needed else max(asked.needed, min(max(left // 16, 1), asked.wanted))
            day.leased += granted
            self._leases[asked.lease_id] = granted
            self.asked.append(asked)
        return SearchLease(self._leases[asked.lease_id])

    async def settle(self, asked: SettleSearches) -> Nothing:
        if asked.lease_id not in self._leases:
            day = self.days[asked.tenant_id, asked.day]
            day.answered += asked.answered
            day.leased -= asked.unused
            self._leases[asked.lease_id] = 0
            self.asked.append(asked)
        return Nothing()

    async def report_searches(self, asked: ReportSearches) -> Nothing:
        if asked.report_id not in self._reports:
            self._reports.add(asked.report_id)
            self.tallies += asked.tallies
            for tally in asked.tallies:
                day = self.days[tally.tenant_id, tally.day]
                day.answered += tally.answered
                if tally.limit is None:
                    day.unlimited += tally.answered
        return Nothing()

    async def report(self, asked: ReportKeyUse) -> Nothing:
        if asked.report_id not in self._reports:
            self._reports.add(asked.report_id)
            self.reports.append(asked)
            for tally in asked.tallies:
                self.keys[tally.tenant_id, tally.key_id, tally.day] += tally.requests
                self.denied[tally.tenant_id, tally.key_id, tally.day] += tally.denied
        return Nothing()

    async def call(self, method: RpcMethod[Any, Any], request: Any, *, timeout_seconds: float) -> Any:
        """Stands for `RpcClient.call` where there is no bus."""
        self.requests += 1
        await asyncio.sleep(0)
        fault = self.faults.popleft() if self.faults else ""
        if self.away or fault == "lost":
            raise UnavailableError("The tenants service is not running.", retry_after_seconds=2)
        answers = {
            LEASE_SEARCHES.name: self.lease,
            SETTLE_SEARCHES.name: self.settle,
            REPORT_SEARCHES.name: self.report_searches,
            REPORT_KEY_USE.name: self.report,
        }
        answer = await answers[method.name](request)
        await asyncio.sleep(0)
        if fault == "unanswered":
            raise DeadlineExceededError("The tenants service did not answer.", retry_after_seconds=2)
        return answer
