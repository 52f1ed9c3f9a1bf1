"""The quota of searches per day: leased in blocks, so that hardly a search has to ask anybody."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Final
from uuid import UUID

from quarry_common.contracts.usage import (
    LEASE_SEARCHES,
    REPORT_SEARCHES,
    SETTLE_SEARCHES,
    LeaseSearches,
    ReportSearches,
    SearchTally,
    SettleSearches,
)
from quarry_common.errors import DeadlineExceededError, QuarryError, UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_common.waiting import pause
from quarry_gateway.limits.desk import Desk
from quarry_gateway.limits.holding import IDLE_SECONDS, Holding
from quarry_gateway.limits.metrics import LEASES, LOST
from quarry_gateway.limits.reporter import (
    FLUSH_PAUSE_SECONDS,
    FLUSH_SECONDS,
    GIVE_UP_SECONDS,
    RPC_SECONDS,
    Reporter,
)

log = logging.getLogger(__name__)

MAX_DESKS: Final = 10_000
"""Tenants (and days) of which something is held."""
CROWDED_SECONDS: Final = 1.0
"""What stands for `IDLE_SECONDS` while there are half as many."""
WAIT_SECONDS: Final = 3.0
"""For a search to be let in."""
TICK_SECONDS: Final = 0.5
ROUND_SECONDS: Final = 5.0
"""For all that is given back at a time."""
TOGETHER: Final = 16
"""Messages under way at a time."""
LONGEST_PAUSE_SECONDS: Final = 30.0


def _utc() -> datetime:
    return datetime.now(UTC)


class SearchQuota:
    """Lets searches in as long as the day's quota lasts, and counts those that were answered.

    Exactly: all gateways together never answer more than the limit, and while there is demand at all of them
    they come to the limit. A gateway that dies takes what it holds with it. Belongs to one event loop.
    """

    def __init__(
        self,
        rpc: RpcClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc,
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._now = now
        self._desks: dict[tuple[UUID, date], Desk] = {}
        self._leasing: set[asyncio.Task[None]] = set()
        self._heard = True
        """Whether the tenants service took back everything the last time."""
        self._reporter = Reporter(
            rpc, REPORT_SEARCHES, collect=self._tallies, report=_report, lost=_lost, clock=clock
        )

    def search(self, tenant_id: UUID, limit: int | None, count: int = 1) -> "Admission":
        """Return a context in which `count` searches may run; None is no limit.

        They are counted when it ends without an error, but for those said to have `failed`. Entering it
        raises `QuotaExceededError` when not so many are left of the day, and what asking the tenants service
        does: `RemoteError`, or `DeadlineExceededError` after three seconds.
        """
        return Admission(self, tenant_id, limit, count)

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell what was answered and give back what is not used, until `stopping` is set; then all of it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reporter.run(stopping))
            while not stopping.is_set():
                await pause(stopping, TICK_SECONDS)
                await self.settle_due()
        await self.flush()

    async def tell(self) -> None:
        """Tell what was answered, of all tenants together; what does not arrive is told again next time."""
        await self._reporter.tell()

    async def settle_due(self) -> None:
        """Give back what is due by now, and forget the tenants of whom nothing is held."""
        today, now = self._now().date(), self._clock()
        idle = IDLE_SECONDS if len(self._desks) < MAX_DESKS // 2 else CROWDED_SECONDS

        await self._settle(
            [
                desk
                for desk in self._desks.values()
                if (desk.retry_at <= now if desk.holding.sent else desk.holding.due(now, today, idle))
            ],
            lambda holding: holding.due(now, today, idle),
        )
        for key, desk in list(self._desks.items()):
            if desk.empty and (desk.holding.day != today or now - desk.holding.used_at >= idle):
                del self._desks[key]

    async def flush(self) -> None:
        """Tell everything and give all back, within five seconds; to be called when no search runs."""
        await asyncio.gather(self._give_all_back(), self._reporter.flush())

    async def admit(self, tenant_id: UUID, limit: int | None, count: int) -> Desk:
        """Let searches run, and return where to tell how they ended. Raises as `search` says."""
        now = self._clock()
        desk = self._desk(tenant_id, now)
        if limit is None:
            desk.holding.unlimited += count
            desk.holding.used_at = now
            return desk
        if desk.admits(count, limit, now):
            return desk
        waiter = desk.wait(count, limit)
        if not desk.leasing:
            desk.leasing = True
            task = asyncio.create_task(self._lease(desk))
            self._leasing.add(task)
            task.add_done_callback(self._leasing.discard)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiter
        except TimeoutError:
            desk.leave(waiter, count, self._clock())
            raise DeadlineExceededError(
                "The day's quota of searches could not be read in time.", retry_after_seconds=2
            ) from None
        except asyncio.CancelledError:
            desk.leave(waiter, count, self._clock())
            raise
        return desk

    def finish(self, desk: Desk, count: int, failed: int, *, limited: bool) -> None:
        """Take note of how searches ended that were let in."""
        if limited:
            desk.finish(count, failed, self._clock())
        else:
            desk.holding.finish_unlimited(count, failed)

    def _desk(self, tenant_id: UUID, now: float) -> Desk:
        moment = self._now()
        desk = self._desks.get((tenant_id, moment.date()))
        if desk is None:
            if len(self._desks) >= MAX_DESKS:
                raise UnavailableError("Too many tenants are searching.", retry_after_seconds=2)
            desk = self._desks[tenant_id, moment.date()] = Desk(tenant_id, moment.date(), now)
        return desk

    async def _lease(self, desk: Desk) -> None:
        """Lease as long as somebody waits; one message after the other."""
        try:
            while desk.serve(self._clock()):
                async with desk.lock:
                    await self._lease_once(desk)
        except QuarryError as error:
            LEASES.labels("failed").inc()
            desk.fail(error)
        finally:
            desk.leasing = False

    async def _lease_once(self, desk: Desk) -> None:
        if desk.holding.sent:
            await self._send(desk)
        if not desk.serve(self._clock()):
            return
        desk.ask(self._clock())
        granted = await self._send(desk)
        LEASES.labels("granted" if granted else "refused").inc()
        if granted:
            return
        desk.refuse(self._clock(), self._until_midnight())
        # Too few for whoever was refused may be enough for somebody else, at another gateway too.
        if desk.holding.give_back(self._clock()):
            await self._send(desk)

    async def _give_all_back(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                while True:
                    if not await self._settle(list(self._desks.values()), lambda holding: holding.free > 0):
                        return
                    await asyncio.sleep(FLUSH_PAUSE_SECONDS)
        log.warning("searches of the day's quota could not be given back; they are lost for the day")

    async def _settle(self, desks: Sequence[Desk], gives_back: Callable[[Holding], bool]) -> int:
        """Send what is on its way of each tenant, and what it then `gives_back`; return how many failed."""
        turns = asyncio.Semaphore(TOGETHER)
        untold = len(desks)

        async def settle(desk: Desk) -> None:
            nonlocal untold
            with suppress(QuarryError):
                async with turns, desk.lock:
                    if desk.holding.sent:
                        await self._send(desk)
                    if gives_back(desk.holding):
                        desk.holding.give_back(self._clock())
                        await self._send(desk)
                untold -= 1

        with suppress(TimeoutError):
            async with asyncio.timeout(ROUND_SECONDS), asyncio.TaskGroup() as group:
                for desk in desks:
                    group.create_task(settle(desk))
        if untold and self._heard:
            log.warning("searches of the quotas of %d tenants could not be given back", untold)
        self._heard = not untold
        return untold

    async def _send(self, desk: Desk) -> int:
        """Send the message that is on its way, perhaps again; return what it was granted."""
        message = desk.holding.sent
        try:
            granted = await self._call(message)
        except QuarryError:
            self._failed(desk)
            raise
        desk.failures = 0
        desk.holding.arrived(granted)
        return granted

    async def _call(self, message: LeaseSearches | SettleSearches | None) -> int:
        if isinstance(message, LeaseSearches):
            return (await self._rpc.call(LEASE_SEARCHES, message, timeout_seconds=RPC_SECONDS)).granted
        if message is not None:
            await self._rpc.call(SETTLE_SEARCHES, message, timeout_seconds=RPC_SECONDS)
        return 0

    def _failed(self, desk: Desk) -> None:
        now, message = self._clock(), desk.holding.sent
        desk.failures += 1
        desk.retry_at = now + min(2.0 ** min(desk.failures, 8) / 2, LONGEST_PAUSE_SECONDS)
        if message is not None and now - desk.holding.sent_at > GIVE_UP_SECONDS:
            LOST.labels("searches").inc(message.answered)
            desk.holding.arrived()

    def _tallies(self) -> list[SearchTally]:
        return [tally for desk in self._desks.values() for tally in desk.holding.tell()]

    def _until_midnight(self) -> float:
        now = self._now()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        return (midnight - now).total_seconds()


def _report(tallies: Sequence[SearchTally]) -> ReportSearches:
    return ReportSearches(new_id(), list(tallies))


def _lost(report: ReportSearches) -> None:
    LOST.labels("searches").inc(sum(tally.answered for tally in report.tallies))


class Admission:
    """Searches that may run while it lasts."""

    __slots__ = ("_count", "_desk", "_limit", "_quota", "_tenant_id", "failed")

    def __init__(self, quota: SearchQuota, tenant_id: UUID, limit: int | None, count: int) -> None:
        self._quota = quota
        self._tenant_id = tenant_id
        self._limit = limit
        self._count = count
        self.failed = 0
        """Of the searches, those that got no answer."""

    async def __aenter__(self) -> "Admission":
        self._desk = await self._quota.admit(self._tenant_id, self._limit, self._count)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = self.failed if kind is None else self._count
        self._quota.finish(self._desk, self._count, failed, limited=self._limit is not None)
