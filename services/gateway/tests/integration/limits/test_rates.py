"""Rate limits over Redis, and what becomes of them when it is slow, frozen, dead or back."""

import asyncio
import time
from collections.abc import Sequence
from uuid import uuid4

import pytest
import uvloop
from libs.common.tests.integration.cache.conftest import MortalRedis
from libs.common.tests.integration.conftest import Until
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from quarry_common.cache.breaker import FAILURES, State
from quarry_gateway.limits.buckets import Bucket, Endpoint, Owner
from quarry_gateway.limits.decisions import UNLIMITED
from quarry_gateway.limits.gcra import Limit
from quarry_gateway.limits.rates import Rates, open_rates
from quarry_gateway.settings import GatewaySettings

from .conftest import OpenRates

SLOW = Limit(1, 10)
"""So slow that nothing is paid for within a test."""
REQUEST_SECONDS = 0.05


def bucket(limit: Limit = SLOW, owner: Owner = Owner.TENANT) -> Bucket:
    return Bucket(owner, uuid4(), Endpoint.SEARCH, limit)


async def passing(rates: Rates, buckets: Sequence[Bucket], most: int) -> int:
    """Return how many of so many requests pass, one after the other."""
    return sum([(await rates.take(buckets)).allowed for _ in range(most)])


def decided(where: str) -> float:
    return sum(
        REGISTRY.get_sample_value("rate_limit_decisions_total", {"outcome": outcome, "where": where}) or 0.0
        for outcome in ("allowed", "denied")
    )


def state(rates: Rates) -> State:
    assert rates._shared is not None
    return rates._shared.breaker.state


async def shares(rates: Rates) -> bool:
    assert rates._shared is not None
    return rates._shared.ready


async def test_gateways_share_a_bucket(open_one: OpenRates) -> None:
    async with open_one() as one, open_one() as other:
        tenant = bucket()
        assert await passing(one, [tenant], 6) == 6
        assert await passing(other, [tenant], 6) == 4

        decision = await one.take([tenant])
        assert (decision.allowed, decision.bucket, decision.remaining) == (False, tenant, 0)
        assert 0 < decision.retry_after_seconds <= 1
        assert 9 < decision.reset_seconds <= 10


async def test_many_requests_at_once_are_counted_one_by_one(open_one: OpenRates) -> None:
    async with open_one() as one, open_one() as other:
        tenant = bucket(Limit(1, 150))
        decisions = await asyncio.gather(*(each.take([tenant]) for each in (one, other) for _ in range(400)))

        assert sum(decision.allowed for decision in decisions) == 150


async def test_a_request_that_its_key_may_not_send_costs_the_tenant_nothing(open_one: OpenRates) -> None:
    async with open_one() as rates:
        key, tenant = bucket(Limit(1, 2), Owner.KEY), bucket()
        assert await passing(rates, [key, tenant], 5) == 2

        assert (await rates.take([key, tenant])).bucket == key
        assert (await rates.take([tenant])).remaining == 7


async def test_a_batch_costs_what_its_parts_would(open_one: OpenRates) -> None:
    async with open_one() as rates:
        tenant = bucket()
        assert (await rates.take([tenant], 7)).remaining == 3
        assert not (await rates.take([tenant], 4)).allowed
        assert (await rates.take([tenant], 3)).remaining == 0


async def test_a_batch_beyond_the_burst_passes_after_a_rest(open_one: OpenRates) -> None:
    async with open_one() as rates:
        tenant = bucket()
        decision = await rates.take([tenant], 50)

        assert decision.allowed
        assert 49 < decision.reset_seconds <= 50
        assert 40 < (await rates.take([tenant])).retry_after_seconds <= 41


@pytest.mark.parametrize("away", [False, True], ids=["redis", "local"])
async def test_the_rest_of_a_batch_beyond_the_burst_passes_after_its_first_unit(
    open_one: OpenRates, away: bool
) -> None:
    async with open_one(**({"redis_url": "redis://127.0.0.1:1/0"} if away else {})) as rates:
        tenant = bucket()
        assert (await rates.take([tenant])).allowed
        assert not (await rates.take([tenant], 49)).allowed

        assert (await rates.take([tenant], 49, paid=1)).allowed

        refused = await rates.take([tenant], 49, paid=1)
        assert not refused.allowed
        assert 40 < refused.retry_after_seconds <= 50


async def test_without_a_limit_nobody_is_asked(open_one: OpenRates, redis: Redis) -> None:
    async with open_one() as rates:
        before = (await redis.info("stats"))["total_commands_processed"]
        for _ in range(20):
            assert await rates.take([]) is UNLIMITED

        assert (await redis.info("stats"))["total_commands_processed"] == before + 1


async def test_a_rate_of_none_refuses_without_asking(open_one: OpenRates, redis: Redis) -> None:
    async with open_one() as rates:
        before = (await redis.info("stats"))["total_commands_processed"]
        assert not (await rates.take([bucket(), bucket(Limit(0, 0))])).allowed

        assert (await redis.info("stats"))["total_commands_processed"] == before + 1


async def test_limits_can_be_turned_off(open_one: OpenRates) -> None:
    async with open_one(rate_limits_enabled=False, redis_url="redis://127.0.0.1:1/0") as rates:
        assert await rates.take([bucket(Limit(0, 0))]) is UNLIMITED


async def test_a_caller_that_is_gone_harms_nobody(open_one: OpenRates) -> None:
    async with open_one() as rates:
        for turns in range(12):
            tenant = bucket()
            gone, other = (asyncio.create_task(rates.take([tenant])) for _ in range(2))
            for _ in range(turns % 6):
                await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert (await other).remaining in {8, 9}
        assert state(rates) is State.CLOSED


async def test_a_script_that_redis_forgot_is_told_again(
    open_one: OpenRates, redis: Redis, until: Until
) -> None:
    async with open_one() as rates:
        await redis.script_flush()
        decisions = await asyncio.gather(*(rates.take([bucket()]) for _ in range(5)))
        assert all(decision.remaining == 9 for decision in decisions)

        # What was answered to nobody is not taken for the answer to the next.
        before = decided("redis")
        for cost in range(1, 6):
            await until(lambda: shares(rates))
            assert (await rates.take([bucket()], cost)).remaining == 10 - cost
        assert decided("redis") == before + 5


async def test_a_frozen_redis_is_waited_for_once_and_then_left_alone(
    open_one: OpenRates, mortal_redis: MortalRedis, until: Until
) -> None:
    async with open_one(redis_url=mortal_redis.url, redis_timeout_seconds=REQUEST_SECONDS) as rates:
        tenant = bucket()
        assert await passing(rates, [tenant], 4) == 4
        before = decided("local")
        mortal_redis.freeze()

        decisions = await asyncio.gather(*(rates.take([tenant]) for _ in range(20)))
        # No free burst: it goes on from what Redis had said.
        assert sum(decision.allowed for decision in decisions) == 6
        assert decided("local") == before + 20
        for _ in range(500):
            assert not (await rates.take([tenant])).allowed

        mortal_redis.wake()
        await until(lambda: shares(rates))
        # Nor is there one when it comes back, though it knows but of the first four.
        assert not (await rates.take([tenant])).allowed
        assert state(rates) is State.CLOSED


async def test_a_redis_that_comes_back_empty_is_told_what_is_owed(
    open_one: OpenRates, mortal_redis: MortalRedis, until: Until
) -> None:
    async with (
        open_one(redis_url=mortal_redis.url) as one,
        open_one(redis_url=mortal_redis.url) as other,
    ):
        tenant = bucket(Limit(1, 100))
        assert await passing(one, [tenant], 60) == 60
        mortal_redis.kill()
        assert await passing(one, [tenant], 20) == 20
        assert await passing(other, [tenant], 20) == 20

        mortal_redis.start()
        await until(lambda: shares(one))
        await until(lambda: shares(other))
        assert (await one.take([tenant])).remaining in {19, 20, 21, 22, 23, 24}
        assert (await other.take([tenant])).remaining in {18, 19, 20, 21, 22, 23}


async def test_a_redis_killed_under_load_is_an_error_for_nobody(
    open_one: OpenRates, mortal_redis: MortalRedis, until: Until
) -> None:
    wide = bucket(Limit(100_000, 100_000))
    over = asyncio.Event()

    async def client() -> int:
        passed = 0
        while not over.is_set():
            passed += (await rates.take([wide])).allowed
            await asyncio.sleep(0)
        return passed

    async def decides(where: str, least: float) -> bool:
        return decided(where) >= least

    async with open_one(redis_url=mortal_redis.url) as rates:
        before = decided("redis") + decided("local")
        clients = [asyncio.create_task(client()) for _ in range(16)]
        for _ in range(2):
            most = decided("redis") + 100
            await until(lambda most=most: decides("redis", most))
            mortal_redis.kill()
            most = decided("local") + 100
            await until(lambda most=most: decides("local", most))
            mortal_redis.start()
        await until(lambda: shares(rates))
        over.set()
        passed = sum(await asyncio.gather(*clients))
        assert passed == decided("redis") + decided("local") - before
        assert state(rates) is State.CLOSED


async def test_a_redis_that_is_not_there_is_tried_less_and_less(
    open_one: OpenRates, mortal_redis: MortalRedis
) -> None:
    def failures() -> float:
        return REGISTRY.get_sample_value("rate_limit_redis_failures_total", {"reason": "error"}) or 0.0

    mortal_redis.kill()
    before = failures()
    async with open_one(redis_url=mortal_redis.url) as rates:
        tenant = bucket()
        assert await passing(rates, [tenant], 20) == 10
        async with asyncio.timeout(20):
            while state(rates) is State.CLOSED:
                await asyncio.sleep(0)
        assert failures() - before == FAILURES
        assert REGISTRY.get_sample_value("rate_limit_breaker_state") == State.OPEN


async def test_a_redis_that_refuses_is_like_none(open_one: OpenRates, mortal_redis: MortalRedis) -> None:
    async with open_one(redis_url=mortal_redis.url.replace("of-the-test", "wrong")) as rates:
        assert await passing(rates, [bucket()], 20) == 10


def test_a_connection_that_was_reset_is_made_anew(settings: GatewaySettings) -> None:
    """With uvloop, as gateways run: it raises RuntimeError for writing to such a connection."""

    async def reset() -> None:
        async with open_rates(settings) as rates, asyncio.timeout(20):
            assert rates._shared is not None
            rates._shared._connection._writer.transport.abort()
            await asyncio.sleep(0)
            assert (await rates.take([bucket()])).allowed
            while not rates._shared.ready:
                await asyncio.sleep(0.01)
            before = decided("redis")
            assert (await rates.take([bucket()])).allowed
            assert decided("redis") == before + 1

    uvloop.run(reset())


@pytest.mark.full
async def test_ten_seconds_of_load_come_to_the_rate(open_one: OpenRates) -> None:
    """In real time: 50 per second and 50 at once; two gateways are offered 200 per second."""
    async with open_one() as one, open_one() as other:
        tenant, admitted, began = bucket(Limit(50, 50)), 0, time.monotonic()
        for number in range(2_000):
            await asyncio.sleep(max(0.0, began + number / 200 - time.monotonic()))
            admitted += (await (one, other)[number % 2].take([tenant])).allowed

    assert 495 <= admitted <= 555
