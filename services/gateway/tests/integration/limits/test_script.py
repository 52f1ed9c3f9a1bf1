"""The script in Redis does what the pure rules say, at any time and in any order."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from quarry_common.cache.connection import open_redis
from quarry_gateway.limits.buckets import Bucket, Endpoint, Owner
from quarry_gateway.limits.gcra import SECOND, Limit, charge
from quarry_gateway.limits.ledger import Ledger
from quarry_gateway.limits.rates import Rates
from quarry_gateway.limits.shared import SCRIPT, SharedBuckets
from quarry_gateway.settings import GatewaySettings

BEGAN = 1_800_000_000 * SECOND
# The script's own clock and the ends of keys are real; here the key `time` says what time it is.
SIMULATED = (
    """
local server = redis
local redis = {call = function(command, key, value, ...)
    if command == 'TIME' then
        local now = tonumber(server.call('GET', 'time'))
        return {string.format('%d', now / 1000000), string.format('%d', now % 1000000)}
    end
    if command == 'SET' then
        return server.call('SET', key, value)
    end
    return server.call(command, key)
end}
"""
    + SCRIPT
)


async def ask(
    redis: Redis,
    script: str,
    names: Sequence[str],
    limits: Sequence[Limit],
    owed: Sequence[int],
    cost: int,
    paid: int = 0,
) -> tuple[bool, list[int]]:
    words = [cost, paid]
    for limit, debt in zip(limits, owed, strict=True):
        words += (limit.interval, limit.capacity, debt)
    allowed, *debts = await redis.eval(script, len(names), *names, *words)
    return bool(allowed), debts


@pytest.mark.parametrize("seed", range(8))
async def test_the_script_equals_the_rules(redis: Redis, prefix: str, seed: int) -> None:
    dice = random.Random(seed)
    script = SIMULATED.replace("'time'", f"'{prefix}time'")
    limits = {
        f"{prefix}{n}": Limit(dice.choice([1, 3, 50, 999, 10_000]), dice.randint(0, 80)) for n in range(4)
    }
    paid_at = dict.fromkeys(limits, 0)
    now = BEGAN
    for _ in range(150):
        now += dice.choice([0, 1, 137, 20_000, 333_333, 5 * SECOND])
        await redis.set(f"{prefix}time", now)
        names = dice.sample(list(limits), dice.randint(1, 3))
        owed = [dice.choice([0, 0, 0, 1, 40_000, 2 * SECOND]) for _ in names]
        cost, paid = dice.choice([1, 1, 1, 2, 7, 100]), dice.choice([0, 0, 1, 3])

        debts = [max(0, paid_at[name] - now, debt) for name, debt in zip(names, owed, strict=True)]
        expected = charge([limits[name] for name in names], debts, cost, paid)
        found = await ask(redis, script, names, [limits[name] for name in names], owed, cost, paid)

        assert found == expected
        for name, debt in zip(names, expected[1], strict=True):
            paid_at[name] = now + debt


async def test_a_bucket_is_gone_when_it_is_paid_for(redis: Redis, prefix: str) -> None:
    name = f"{prefix}bucket"
    await ask(redis, SCRIPT, [name], [Limit(10, 10)], [0], 5)
    assert 400 <= await redis.pttl(name) <= 500

    await ask(redis, SCRIPT, [name], [Limit(10, 10)], [0], 5)
    assert 800 <= await redis.pttl(name) <= 1000


async def test_what_is_refused_leaves_no_trace(redis: Redis, prefix: str) -> None:
    full, empty = f"{prefix}full", f"{prefix}empty"
    await ask(redis, SCRIPT, [full], [Limit(1, 1)], [0], 1)
    before = await redis.get(full)

    allowed, _ = await ask(redis, SCRIPT, [empty, full], [Limit(1, 1)] * 2, [0, 0], 1)

    assert not allowed
    assert await redis.get(full) == before
    assert not await redis.exists(empty)


@asynccontextmanager
async def simulated(settings: GatewaySettings, script: str) -> AsyncIterator[Rates]:
    shared = SharedBuckets(
        open_redis(settings, connections=1), settings.cache_prefix, answer_seconds=2, script=script
    )
    running = asyncio.create_task(shared.run())
    try:
        await shared.tried()
        yield Rates(shared, Ledger())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_two_gateways_together_admit_what_one_may(
    settings: GatewaySettings, redis: Redis, prefix: str
) -> None:
    """50 per second and 50 at once; 200 per second are offered for ten simulated seconds."""
    bucket = Bucket(Owner.TENANT, uuid4(), Endpoint.SEARCH, Limit(50, 50))
    script = SIMULATED.replace("'time'", f"'{prefix}time'")
    admitted = 0
    async with simulated(settings, script) as one, simulated(settings, script) as other:
        for tick in range(10 * 100):
            await redis.set(f"{prefix}time", BEGAN + tick * SECOND // 100)
            decisions = await asyncio.gather(one.take([bucket]), other.take([bucket]))
            admitted += sum(decision.allowed for decision in decisions)

    assert 495 <= admitted <= 555
