"""Requests and tokens that may be sent to a remote embedder, shared by all processes of an installation.

Each limit is a generic cell rate algorithm (GCRA; ATM Forum, Traffic Management 4.1, and ITU-T I.371): one
moment, that at which everything sent would be paid for. A small burst is allowed, and the rate is lowered by
it, so that no minute sees more than the limit. The moments live in one hash in Redis, changed by one script
with Redis' own clock. While Redis is away each process keeps to the limits by itself.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from quarry_common.cache.connection import open_redis, trouble
from quarry_common.embedding.settings import EmbedderSettings

log = logging.getLogger(__name__)

KEY_PREFIX = "quarry:embedder:"
REDIS_SECONDS = 0.25
OUTAGE_SECONDS = 5.0
"""Time for which Redis is left alone after it failed to answer."""
MINUTE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 86_400.0

_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local held = redis.call('HMGET', KEYS[1], 'pause', 'requests', 'tokens')
local wait = (tonumber(held[1]) or 0) - now
local paid = {}
for gate = 1, 2 do
    local interval, burst, cost = tonumber(ARGV[gate * 3 - 2]), tonumber(ARGV[gate * 3 - 1]), ARGV[gate * 3]
    paid[gate] = math.max(tonumber(held[gate + 1]) or now, now) + cost * interval
    wait = math.max(wait, paid[gate] - burst * interval - now)
end
if wait > 0 then
    return string.format('%.6f', wait)
end
redis.call('HSET', KEYS[1], 'requests', string.format('%.6f', paid[1]),
    'tokens', string.format('%.6f', paid[2]))
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(paid[1], paid[2]) - now) + 60)
return '0'
"""
_PAUSE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local ends = now + ARGV[1]
if ends > (tonumber(redis.call('HGET', KEYS[1], 'pause')) or 0) then
    redis.call('HSET', KEYS[1], 'pause', string.format('%.6f', ends))
    local left = math.ceil(tonumber(ARGV[1])) + 60
    if redis.call('TTL', KEYS[1]) < left then
        redis.call('EXPIRE', KEYS[1], left)
    end
end
return 1
"""


class Gate(msgspec.Struct, frozen=True):
    """One limit: `burst` units at once, then one every `interval_seconds`. An interval of 0 has no limit."""

    interval_seconds: float
    burst: float

    def wait_seconds(self, paid_at: float, cost: float, now: float) -> float:
        """Return how long `cost` units have to wait; 0 or less when they may be sent `now`."""
        return self.paid_at(paid_at, cost, now) - self.burst * self.interval_seconds - now

    def paid_at(self, paid_at: float, cost: float, now: float) -> float:
        """Return when everything is paid for once `cost` units more have been sent `now`."""
        return max(paid_at, now) + cost * self.interval_seconds


UNLIMITED = Gate(0.0, 0.0)


def requests_gate(per_minute: int) -> Gate:
    """Return the gate that lets at most `per_minute` requests pass in any minute."""
    if not per_minute:
        return UNLIMITED
    burst = max(1, per_minute // 10)
    return Gate(MINUTE_SECONDS / (per_minute - burst + 1), burst)


def tokens_gate(per_minute: int, longest: int) -> Gate:
    """Return the gate that lets at most `per_minute` tokens pass in any minute, `longest` of them at once."""
    if not per_minute:
        return UNLIMITED
    burst = max(per_minute // 10, longest)
    return Gate(MINUTE_SECONDS / (per_minute - burst), burst)


class Budget:
    """What the processes of an installation may still send. Belongs to one event loop.

    No method fails or takes long because of Redis.
    """

    def __init__(self, redis: Redis, name: str, requests: Gate, tokens: Gate) -> None:
        self._redis = redis
        self._key = f"{KEY_PREFIX}{name}:budget"
        self._requests = requests
        self._tokens = tokens
        self._take_script = redis.register_script(_TAKE)
        self._pause_script = redis.register_script(_PAUSE)
        # What this process has sent and heard itself, by its own clock: what counts while Redis is away.
        self._requests_paid_at = self._tokens_paid_at = self._paused_until = 0.0
        self._pause_is_shared = False
        self._away = False
        self._ask_again_at = 0.0

    @property
    def most_tokens(self) -> int:
        """Tokens that one request may have; 0 is no limit."""
        return int(self._tokens.burst)

    async def take(self, tokens: int) -> float:
        """Pay for one request of `tokens` and return 0, or return after how many seconds to ask again."""
        now = time.monotonic()
        paused = self._paused_until - now
        if paused > 0 and not self._pause_is_shared:
            return paused
        # A single text may have more than pass at once; it would wait for ever.
        cost = min(float(tokens), self._tokens.burst)
        requests, budget = self._requests, self._tokens
        shared = await self._ask(
            self._take_script,
            [requests.interval_seconds, requests.burst, 1, budget.interval_seconds, budget.burst, cost],
        )
        wait = shared
        if wait is None:
            wait = max(
                paused,
                requests.wait_seconds(self._requests_paid_at, 1, now),
                budget.wait_seconds(self._tokens_paid_at, cost, now),
            )
        if wait > 0:
            return wait
        self._requests_paid_at = requests.paid_at(self._requests_paid_at, 1, now)
        self._tokens_paid_at = budget.paid_at(self._tokens_paid_at, cost, now)
        return 0.0

    async def pause(self, seconds: float) -> None:
        """Let no process of the installation send anything for `seconds`, a day at most."""
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        self._pause_is_shared = False
        # What Redis knows is left to Redis, where an operator may lift it.
        self._pause_is_shared = await self._ask(self._pause_script, [seconds]) is not None

    async def close(self) -> None:
        """Let go of the connections."""
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await self._redis.aclose()
        except (RedisError, OSError, TimeoutError):
            log.debug("a connection to Redis was not closed in order", exc_info=True)

    async def _ask(self, script: AsyncScript, arguments: Sequence[float]) -> float | None:
        """Return what `script` says, or None while Redis is away."""
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answer = float(await script(keys=[self._key], args=arguments))
        except (RedisError, OSError, TimeoutError) as error:
            self._ask_again_at = time.monotonic() + OUTAGE_SECONDS
            if not self._away:
                log.warning("the embedder's budget is not shared while Redis is away: %s", trouble(error))
            self._away = True
            return None
        if self._away:
            log.info("the embedder's budget is shared again")
        self._away = False
        return answer


def open_budget(settings: EmbedderSettings) -> Budget:
    """Return the budget that the settings give to their model. Nothing is sent before it is first used.

    The key names the model alone: limits are an account's, whatever the length of the vectors.
    """
    redis = open_redis(settings, timeout_seconds=REDIS_SECONDS)
    return Budget(
        redis,
        settings.embedder_model,
        requests_gate(settings.embedder_requests_per_minute),
        tokens_gate(settings.embedder_tokens_per_minute, settings.embedder_max_tokens),
    )
