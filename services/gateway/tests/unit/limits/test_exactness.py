"""Whatever happens, two gateways together answer the limit: not one more, and in the end all of it."""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import date, timedelta
from typing import cast
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from services.gateway.tests.usage_service import UsageService

from quarry_common.errors import QuotaExceededError, RemoteError
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.limits.desk import REFUSED_SECONDS
from quarry_gateway.limits.searches import SearchQuota

from .conftest import Time

TENANT, UNLIMITED = uuid4(), uuid4()

STEPS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 1), st.sampled_from([1, 1, 1, 2, 5])),
    st.tuples(st.just("begin without quota"), st.integers(0, 1), st.just(1)),
    st.tuples(st.sampled_from(["answer", "fail", "cancel"]), st.integers(0, 50), st.just(0)),
    st.tuples(st.just("answer some"), st.integers(0, 50), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 5.0, 31.0]), st.just(0)),
    st.tuples(st.sampled_from(["settle", "tell"]), st.integers(0, 1), st.just(0)),
    st.tuples(st.sampled_from(["lost", "unanswered"]), st.just(0), st.just(0)),
    st.tuples(st.just("day ends"), st.just(0), st.just(0)),
)


class Search:
    """One request: it runs until it is told how it ends."""

    def __init__(self, run: "Run", quota: SearchQuota, count: int, *, limited: bool) -> None:
        self._run = run
        self._count = count
        self._limited = limited
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._search(quota))

    async def _search(self, quota: SearchQuota) -> None:
        day = self._run.time.moment.date()
        tenant, limit = (TENANT, self._run.limit) if self._limited else (UNLIMITED, None)
        with suppress(QuotaExceededError, RemoteError, ZeroDivisionError):
            async with quota.search(tenant, limit, self._count) as admitted:
                self._run.running[tenant, day] += self._count
                try:
                    admitted.failed = await self._end
                    if admitted.failed == self._count:
                        raise ZeroDivisionError
                    self._run.answered[tenant, day] += self._count - admitted.failed
                finally:
                    self._run.running[tenant, day] -= self._count

    def end(self, failed: int) -> None:
        if not self._end.done():
            self._end.set_result(min(failed, self._count))


class Run:
    """Two gateways, the service, the steps, and what the users saw."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.time = Time()
        self.service = UsageService()
        self.gateways = [
            SearchQuota(cast(RpcClient, self.service), clock=self.time.clock, now=self.time.now)
            for _ in range(2)
        ]
        self.searches: list[Search] = []
        self.running: Counter[tuple[UUID, date]] = Counter()
        self.answered: Counter[tuple[UUID, date]] = Counter()

    async def step(self, what: str, which: float, count: int) -> None:
        if what.startswith("begin"):
            self.searches.append(Search(self, self.gateways[int(which)], count, limited=what == "begin"))
        elif what == "wait":
            self.time.pass_by(which)
        elif what == "settle":
            await self.gateways[int(which)].settle_due()
        elif what == "tell":
            await self.gateways[int(which)].tell()
        elif what == "day ends":
            self.time.moment += timedelta(days=1)  # not after an hour's silence, for which messages are kept
        elif what in {"lost", "unanswered"}:
            self.service.faults.append(what)
        elif self.searches:
            search = self.searches[int(which) % len(self.searches)]
            if what == "cancel":
                search.task.cancel()
            else:
                search.end({"answer": 0, "answer some": count, "fail": 99}[what])
        # How far each comes before the next step differs.
        for _ in range(count):
            await asyncio.sleep(0)

    def check(self) -> None:
        for tenant, day in self.answered | self.running:
            if tenant == TENANT:
                assert self.answered[tenant, day] + self.running[tenant, day] <= self.limit

    async def finish(self) -> None:
        """End what runs; then both gateways search on until both are refused."""
        self.service.faults.clear()
        for search in self.searches:
            search.end(0)
        await asyncio.gather(*(search.task for search in self.searches), return_exceptions=True)
        refused: set[int] = set()
        while len(refused) < 2:
            self.time.pass_by(REFUSED_SECONDS)
            for number, quota in enumerate(self.gateways):
                search = Search(self, quota, 1, limited=True)
                search.end(0)
                before = self.answered.total()
                await search.task
                refused = refused | {number} if self.answered.total() == before else set()
        for quota in self.gateways:
            await quota.flush()


@settings(max_examples=150, deadline=None)
@given(limit=st.integers(0, 60), steps=st.lists(STEPS, max_size=80))
def test_exactly_the_limit_is_answered(limit: int, steps: list[tuple[str, float, int]]) -> None:
    async def run() -> None:
        of = Run(limit)
        for step in steps:
            await of.step(*step)
            of.check()
        await of.finish()

        for place, day in of.service.days.items():
            assert day.answered == of.answered[place]
            assert day.leased == (of.answered[place] if place[0] == TENANT else 0)
        assert of.answered[TENANT, of.time.moment.date()] == limit

    asyncio.run(run())
