"""How keys are used: counted in memory, told to the tenants service every few seconds."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from quarry_common.contracts.api_keys import REPORT_KEY_USE, KeyTally, ReportKeyUse
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.limits.metrics import LOST
from quarry_gateway.limits.reporter import Reporter

MAX_KEYS: Final = 10_000
"""Keys counted at a time, and as many again in reports that did not arrive."""

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)


class _Use:
    __slots__ = ("denied", "last_used", "requests", "tenant_id")

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.requests = self.denied = 0
        self.last_used = 0.0


class KeyUse:
    """Counts requests by key and day (UTC). `clock` gives seconds since 1970; belongs to one event loop."""

    def __init__(self, rpc: RpcClient, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._day = int(clock()) // _DAY_SECONDS
        self._uses: dict[UUID, _Use] = {}
        """Of the present day, by key."""
        self._earlier: list[KeyTally] = []
        """Of days that have ended since the last report."""
        self._reporter = Reporter(
            rpc, REPORT_KEY_USE, collect=self._collect, report=_report, lost=_lost, clock=clock
        )

    def note(self, tenant_id: UUID, key_id: UUID, denied: bool) -> None:
        """Count a request made with a tenant's key, and whether it was refused."""
        now = self._clock()
        if int(now) // _DAY_SECONDS != self._day:
            self._end_day(int(now) // _DAY_SECONDS)
        use = self._uses.get(key_id)
        if use is None:
            if len(self._uses) + len(self._earlier) >= MAX_KEYS:
                LOST.labels("requests").inc()
                return
            use = self._uses[key_id] = _Use(tenant_id)
        use.requests += 1
        use.denied += denied
        use.last_used = now

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell every few seconds until `stopping` is set, and then once more."""
        await self._reporter.run(stopping)
        await self.flush()

    async def tell(self) -> None:
        """Tell what was counted; what does not arrive is told again the next time."""
        await self._reporter.tell()

    async def flush(self) -> None:
        """Tell everything, within five seconds; to be called when no request is answered any more."""
        await self._reporter.flush()

    def _end_day(self, today: int) -> None:
        self._earlier += self._tallies()
        self._uses = {}
        self._day = today

    def _collect(self) -> Sequence[KeyTally]:
        tallies = [*self._earlier, *self._tallies()]
        self._earlier, self._uses = [], {}
        return tallies

    def _tallies(self) -> Iterable[KeyTally]:
        day = _EPOCH + timedelta(days=self._day)
        for key_id, use in self._uses.items():
            last_used = datetime.fromtimestamp(use.last_used, UTC)
            yield KeyTally(use.tenant_id, key_id, day, use.requests, use.denied, last_used)


def _report(tallies: Sequence[KeyTally]) -> ReportKeyUse:
    return ReportKeyUse(new_id(), list(tallies))


def _lost(report: ReportKeyUse) -> None:
    LOST.labels("requests").inc(sum(tally.requests for tally in report.tallies))
