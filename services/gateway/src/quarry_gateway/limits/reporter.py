"""Telling the tenants service, every few seconds, what was counted in memory."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, TypeVar

import msgspec

from quarry_common.contracts.rpc import Nothing, RpcMethod
from quarry_common.errors import QuarryError
from quarry_common.messaging.rpc import RpcClient
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

REPORT_SECONDS: Final = 4.0
RPC_SECONDS: Final = 2.0
TALLIES_IN_REPORT: Final = 1_000
GIVE_UP_SECONDS: Final = 3600.0
"""What did not arrive for so long is lost."""
FLUSH_SECONDS: Final = 5.0
FLUSH_PAUSE_SECONDS: Final = 0.5

TallyT = TypeVar("TallyT")
ReportT = TypeVar("ReportT", bound=msgspec.Struct)


class Reporter(Generic[TallyT, ReportT]):
    """Sends what `collect` hands over, as reports of `method`; belongs to one event loop.

    A report that failed may have arrived all the same, so it is repeated as it is, and what is counted
    meanwhile goes into the next. `lost` is told of what could not be told for an hour; `clock` gives seconds.
    """

    def __init__(
        self,
        rpc: RpcClient,
        method: RpcMethod[ReportT, Nothing],
        *,
        collect: Callable[[], Sequence[TallyT]],
        report: Callable[[Sequence[TallyT]], ReportT],
        lost: Callable[[ReportT], None],
        clock: Callable[[], float],
    ) -> None:
        self._rpc = rpc
        self._method = method
        self._collect = collect
        self._report = report
        self._lost = lost
        self._clock = clock
        self._reports: list[ReportT] = []
        self._failing_since: float | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell every few seconds until `stopping` is set."""
        while not stopping.is_set():
            await pause(stopping, REPORT_SECONDS)
            await self.tell()

    async def tell(self) -> bool:
        """Tell what was counted, and return whether it arrived; otherwise it is told again the next time."""
        if not self._reports:
            self._fetch()
        with suppress(QuarryError):
            while self._reports:
                await self._rpc.call(self._method, self._reports[0], timeout_seconds=RPC_SECONDS)
                del self._reports[0]
                self._failing_since = None
        if self._reports:
            self._failed()
        return not self._reports

    async def flush(self) -> None:
        """Tell everything, within five seconds; to be called when nothing more is counted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                while self._reports or self._fetch():
                    if not await self.tell():
                        await asyncio.sleep(FLUSH_PAUSE_SECONDS)
                return
        log.warning("%s: what was counted could not be told; it is lost", self._method.name)

    def _fetch(self) -> bool:
        tallies = self._collect()
        self._reports = [
            self._report(tallies[first : first + TALLIES_IN_REPORT])
            for first in range(0, len(tallies), TALLIES_IN_REPORT)
        ]
        return bool(self._reports)

    def _failed(self) -> None:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
            log.warning("%s: what was counted cannot be told", self._method.name)
        elif now - self._failing_since > GIVE_UP_SECONDS:
            for report in self._reports:
                self._lost(report)
            self._reports, self._failing_since = [], None
