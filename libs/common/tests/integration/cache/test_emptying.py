"""The caches of every process are emptied from outside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from libs.common.tests.integration.conftest import MortalNats
from nats.aio.client import Client

from quarry_common.cache.control import CacheControl
from quarry_common.cache.emptying import Emptied, empty
from quarry_common.contracts.caches import PURGE_REDIS, CacheForgotten, ForgetCached, PurgeRedis, RedisPurged
from quarry_common.errors import UnavailableError
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient

TENANT = uuid4()
SECONDS = 0.2


class Process:
    """One with a cache: tells what it is told to forget, in the order in which it is told."""

    def __init__(self, name: str, *, complete: bool = True) -> None:
        self.name = name
        self.told: list[tuple[str, UUID | None]] = []
        self.silent = False
        self._complete = complete

    async def forget(self, asked: ForgetCached) -> int:
        if self.silent:
            raise RuntimeError
        self.told.append(("memory", asked.tenant_id))
        return 3

    async def purge_redis(self, asked: PurgeRedis) -> RedisPurged:
        self.told.append(("redis", asked.tenant_id))
        return RedisPurged(7, complete=self._complete)


@asynccontextmanager
async def running(nats: MortalNats, *processes: Process) -> AsyncIterator[RpcClient]:
    stopping = asyncio.Event()
    async with broker.connect(nats.settings, "test") as bus:
        tasks = [asyncio.create_task(_control(bus, process).run(stopping)) for process in processes]
        await asyncio.sleep(0)
        await bus.flush()
        try:
            yield RpcClient(bus)
        finally:
            stopping.set()
            await asyncio.gather(*tasks)


def _control(bus: Client, process: Process) -> CacheControl:
    control = CacheControl(bus, "search", process.name, [], process.forget)
    control.server.answer(PURGE_REDIS, process.purge_redis)
    return control


async def test_everybody_forgets_before_and_after_redis_is_emptied(mortal_nats: MortalNats) -> None:
    one = Process("one")

    async with running(mortal_nats, one) as rpc:
        done = await empty(rpc, TENANT, gather_seconds=SECONDS)

    assert one.told == [("memory", TENANT), ("redis", TENANT), ("memory", TENANT)]
    assert done == Emptied(1, [CacheForgotten("search", "one", 6)], 6, 7, complete=True)


async def test_of_many_processes_all_forget_and_one_empties_redis(mortal_nats: MortalNats) -> None:
    many = [Process(str(number)) for number in range(3)]

    async with running(mortal_nats, *many) as rpc:
        done = await empty(rpc, None, gather_seconds=SECONDS)

    assert (done.answered, done.memory_entries, done.redis_entries) == (3, 18, 7)
    assert sum(step == ("redis", None) for each in many for step in each.told) == 1


async def test_it_is_incomplete_when_redis_was_not_gone_through(mortal_nats: MortalNats) -> None:
    async with running(mortal_nats, Process("one", complete=False)) as rpc:
        assert not (await empty(rpc, TENANT, gather_seconds=SECONDS)).complete


async def test_it_is_incomplete_when_somebody_falls_silent(mortal_nats: MortalNats) -> None:
    one = Process("one")

    class Last(Process):
        async def purge_redis(self, asked: PurgeRedis) -> RedisPurged:
            one.silent = True
            return await super().purge_redis(asked)

    other = Last("other")
    one.purge_redis = other.purge_redis  # type: ignore[method-assign] - whoever of the two is asked
    async with running(mortal_nats, one, other) as rpc:
        done = await empty(rpc, TENANT, gather_seconds=SECONDS)

    assert (done.answered, done.complete) == (1, False)


async def test_without_a_search_service_it_cannot_be_done(mortal_nats: MortalNats) -> None:
    async with running(mortal_nats) as rpc:
        with pytest.raises(UnavailableError):
            await empty(rpc, TENANT, gather_seconds=SECONDS)
