"""The second tier: Redis, which all processes share, and which may be slow, frozen or away at any moment."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quarry_common.cache.breaker import Breaker, State
from quarry_common.cache.connection import trouble
from quarry_common.cache.keys import EntryKey
from quarry_common.cache.metrics import BREAKER_STATE, REDIS_FAILURES
from quarry_common.contracts.caches import RedisUsage

log = logging.getLogger(__name__)

PROBE_SECONDS = 2.0
"""Long enough to ask three Sentinels that stand still; nobody waits for a probe."""
CLOSE_SECONDS = 1.0
MAX_WRITES = 128
"""Writes under way that nobody waits for; more are left out."""
SCAN_KEYS = 500
"""Keys looked at in one step of an invalidation; Redis stands still for it, some 100 µs."""

_READ = """
local value = redis.call('GET', KEYS[1])
if value then
    return {value, redis.call('PTTL', KEYS[1])}
end
if ARGV[1] and redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return {false, 1}
end
return {false, 0}
"""
_WRITE = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[3] and redis.call('GET', KEYS[2]) == ARGV[3] then
    redis.call('DEL', KEYS[2])
end
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
"""


class AwayError(Exception):
    """Redis cannot be used now. Never leaves the cache."""


class Found(msgspec.Struct, frozen=True):
    """What a look-up brought: a value with the time it has left, or whether the lock was taken."""

    value: bytes | None
    ttl_seconds: float
    claimed: bool


class RedisTier:
    """Reads and writes entries. Every method raises `AwayError` when Redis cannot be used.

    A call waits `turn_seconds` while as many as `connections` are under way, then `answer_seconds`, with the
    time to connect; while the breaker is open it does not wait at all. Belongs to one event loop; takes over
    `redis`, which has one connection more, and closes it.
    """

    def __init__(
        self, redis: Redis, probe_key: str, *, connections: int, turn_seconds: float, answer_seconds: float
    ) -> None:
        self._redis = redis
        self._probe_key = probe_key
        self._slots = asyncio.Semaphore(connections)
        self._turn_seconds = turn_seconds
        self._answer_seconds = answer_seconds
        self._read = redis.register_script(_READ)
        self._write = redis.register_script(_WRITE)
        self._release = redis.register_script(_RELEASE)
        self._prober: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()
        self.breaker = Breaker()
        BREAKER_STATE.set(State.CLOSED)

    async def read(self, key: EntryKey, claim: str | None = None, lock_seconds: float = 0) -> Found:
        """Return the entry; or, with `claim`, take the lock of its computation for a time if it is free."""
        more: list[str | int] = [] if claim is None else [claim, _milliseconds(lock_seconds)]
        value, number = await self._ask(lambda: self._read([key.shared, key.lock], more))
        if value is None:
            return Found(None, 0.0, bool(number))
        return Found(value, number / 1000, claimed=False)

    async def write(self, key: EntryKey, value: bytes, ttl_seconds: float, claim: str | None = None) -> None:
        """Keep `value`; then give back the lock taken with `claim`."""
        more = [] if claim is None else [claim]
        await self._ask(
            lambda: self._write([key.shared, key.lock], [value, _milliseconds(ttl_seconds), *more])
        )

    def write_soon(self, key: EntryKey, value: bytes, ttl_seconds: float, claim: str | None = None) -> None:
        """Do what `write` does, without being waited for; what fails is not kept."""
        if len(self._writes) >= MAX_WRITES:
            REDIS_FAILURES.labels("busy").inc()
            return

        async def written() -> None:
            with suppress(AwayError):
                await self.write(key, value, ttl_seconds, claim)

        task = asyncio.create_task(written())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def settled(self) -> None:
        """Return when what `write_soon` began is over; each has its deadline."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def release(self, key: EntryKey, claim: str) -> None:
        """Give back the lock, if it is still the one taken with `claim`."""
        await self._ask(lambda: self._release([key.lock], [claim]))

    async def delete(self, key: EntryKey) -> bool:
        """Forget one entry; return whether it was there."""
        return bool(await self._ask(lambda: self._redis.unlink(key.shared)))

    async def scan(self, cursor: int, pattern: str) -> tuple[int, int]:
        """Forget the entries that fit `pattern` among some hundred; return where to go on (0: the end) and
        how many they were."""
        cursor, fitting = await self._ask(
            lambda: self._redis.scan(cursor=cursor, match=pattern, count=SCAN_KEYS)
        )
        removed = await self._ask(lambda: self._redis.unlink(*fitting)) if fitting else 0
        return cursor, removed

    async def usage(self) -> RedisUsage:
        """Return how full the server is."""
        keys = await self._ask(self._redis.dbsize)
        memory = await self._ask(lambda: self._redis.info("memory"))
        counts = await self._ask(lambda: self._redis.info("stats"))
        return RedisUsage(keys, memory["used_memory"], counts["evicted_keys"])

    async def close(self) -> None:
        """Let go of the connections."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.wait([self._prober])
        await self.settled()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._redis.aclose()
        except (RedisError, OSError, TimeoutError):
            log.debug("a connection to Redis was not closed in order", exc_info=True)

    async def _ask(self, command: Callable[[], Awaitable[Any]]) -> Any:
        if self.breaker.state is not State.CLOSED:
            raise AwayError
        async with self._turn():
            # It may have opened while this call waited.
            if self.breaker.state is not State.CLOSED:
                raise AwayError
            try:
                async with asyncio.timeout(self._answer_seconds):
                    answer = await command()
            except (RedisError, OSError, TimeoutError) as error:
                late = isinstance(error, (TimeoutError, RedisTimeoutError))
                REDIS_FAILURES.labels("timeout" if late else "error").inc()
                if self.breaker.failed():
                    self._opened(error)
                raise AwayError from error
        self.breaker.succeeded()
        return answer

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Hold one of the connections. Having none left tells nothing of Redis."""
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._slots.acquire()
        except TimeoutError:
            REDIS_FAILURES.labels("busy").inc()
            raise AwayError from None
        try:
            yield
        finally:
            self._slots.release()

    def _opened(self, error: Exception) -> None:
        log.warning("cache: Redis is left alone for now: %s", trouble(error))
        BREAKER_STATE.set(State.OPEN)
        self._prober = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        """Try again until Redis answers, whether or not anybody asks for it meanwhile."""
        while self.breaker.state is not State.CLOSED:
            await asyncio.sleep(self.breaker.pause_seconds)
            if not self.breaker.begin_probe():
                continue
            BREAKER_STATE.set(State.HALF_OPEN)
            answered = await self._answers()
            self.breaker.end_probe(answered=answered)
            BREAKER_STATE.set(self.breaker.state)
        log.info("cache: Redis answers again")

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                # A write, because a master that has become a replica answers everything else.
                await self._redis.set(self._probe_key, 1, px=1000)
        except (RedisError, OSError, TimeoutError):
            return False
        return True


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
