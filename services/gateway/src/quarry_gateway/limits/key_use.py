"""How keys are used: counted in memory, told to the tenants service every few seconds."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from quarry_common.contracts.api_keys import REPORT_KEY_USE, KeyTally, ReportKeyUse
from quarry_common.errors import QuarryError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_common.waiting import pause
from quarry_gateway.limits.metrics import LOST

log = logging.getLogger(__name__)

REPORT_SECONDS: Final = 5.0
RPC_SECONDS: Final = 2.0
MAX_KEYS: Final = 10_000
"""Keys counted at a time, and as many again in reports that did not arrive."""
KEYS_IN_REPORT: Final = 1_000
GIVE_UP_SECONDS: Final = 3600.0
"""A report that did not arrive for so long is lost."""
FLUSH_SECONDS: Final = 5.0
FLUSH_PAUSE_SECONDS: Final = 0.5

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)


class _Use:
    __slots__ = ("denied", "last_used", "requests", "tenant_id")

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.requests = self.denied = 0
        self.last_used = 0.0


class KeyUse:
    """Counts requests by key and day (UTC). `clock` gives the seconds since 1970; belongs to one event loop.

    A report that failed may have arrived all the same, so it is repeated as it is, and what is counted
    meanwhile goes into the next.
    """

    def __init__(self, rpc: RpcClient, *, clock: Callable[[], float] = time.time) -> None:
        self._rpc = rpc
        self._clock = clock
        self._day = int(clock()) // _DAY_SECONDS
        self._uses: dict[UUID, _Use] = {}
        """Of the present day, by key."""
        self._earlier: list[KeyTally] = []
        """Of days that have ended since the last report."""
        self._reports: list[ReportKeyUse] = []
        self._failing_since: float | None = None

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
        """Report every five seconds until `stopping` is set, and then once more."""
        while not stopping.is_set():
            await pause(stopping, REPORT_SECONDS)
            await self.report()
        await self.flush()

    async def report(self) -> None:
        """Tell what was counted; what does not arrive is told again the next time."""
        if not self._reports:
            self._reports = self._collect()
        with suppress(QuarryError):
            while self._reports:
                await self._rpc.call(REPORT_KEY_USE, self._reports[0], timeout_seconds=RPC_SECONDS)
                del self._reports[0]
                self._failing_since = None
        if self._reports:
            self._failed()

    async def flush(self) -> None:
        """Tell everything, within five seconds; to be called when no request is answered any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                while self._reports or self._uses or self._earlier:
                    await self.report()
                    if self._reports:
                        await asyncio.sleep(FLUSH_PAUSE_SECONDS)
                return
        log.warning("how keys were used could not be told; it is lost")

    def _end_day(self, today: int) -> None:
        self._earlier += self._tallies()
        self._uses = {}
        self._day = today

    def _collect(self) -> list[ReportKeyUse]:
        tallies = [*self._earlier, *self._tallies()]
        self._earlier, self._uses = [], {}
        return [
            ReportKeyUse(new_id(), tallies[first : first + KEYS_IN_REPORT])
            for first in range(0, len(tallies), KEYS_IN_REPORT)
        ]

    def _tallies(self) -> Iterable[KeyTally]:
        day = _EPOCH + timedelta(days=self._day)
        for key_id, use in self._uses.items():
            last_used = datetime.fromtimestamp(use.last_used, UTC)
            yield KeyTally(use.tenant_id, key_id, day, use.requests, use.denied, last_used)

    def _failed(self) -> None:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
            log.warning("the tenants service could not be told how keys are used")
        elif now - self._failing_since > GIVE_UP_SECONDS:
            LOST.labels("requests").inc(
                sum(tally.requests for report in self._reports for tally in report.tallies)
            )
            self._reports, self._failing_since = [], None
