"""Buckets in Redis, which all gateways share: one script, over one connection of the process's own."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quarry_common.cache.breaker import Breaker, State
from quarry_gateway.limits.gcra import Limit
from quarry_gateway.limits.metrics import BREAKER_STATE, REDIS_FAILURES

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
"""Long enough to ask three Sentinels that stand still; no request waits for it."""
CLOSE_SECONDS = 1.0
MAX_AT_ONCE = 128
"""Questions in one message; Redis stands still for it, a millisecond."""
MAX_WAITING = 4_096
"""Questions that wait for the message under way; what comes then is decided here."""

SCRIPT: Final = """
-- KEYS: buckets. ARGV: the cost, and the units that the same request paid before; then for each bucket its
-- interval, its capacity and what it owes at least.
-- Returns whether it passes (1 or 0), and the debts then. All in microseconds of this server's clock.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local allowed, stored, debts = 1, {}, {}
for place, key in ipairs(KEYS) do
    local interval, capacity = ARGV[place * 3], tonumber(ARGV[place * 3 + 1])
    local owed = tonumber(ARGV[place * 3 + 2])
    stored[place] = math.max((tonumber(redis.call('GET', key)) or 0) - now, 0)
    debts[place] = math.max(stored[place], owed)
    if debts[place] > ARGV[2] * interval and debts[place] + ARGV[1] * interval > capacity then
        allowed = 0
    end
end
for place, key in ipairs(KEYS) do
    debts[place] = debts[place] + allowed * ARGV[1] * ARGV[place * 3]
    if debts[place] > stored[place] then
        local paid_at = string.format('%.0f', now + debts[place])
        redis.call('SET', key, paid_at, 'PX', math.ceil(debts[place] / 1000))
    end
end
return {allowed, unpack(debts)}
"""


class _Question:
    __slots__ = ("answer", "words")

    def __init__(self, words: list[str | int], answer: "asyncio.Future[list[int] | None]") -> None:
        self.words = words
        self.answer = answer


class SharedBuckets:
    """Charges buckets in Redis. `run` keeps the connection; belongs to one event loop, takes over `redis`.

    Questions that come while a message is under way go together in the next: a request costs one round trip,
    and many at once share the price of it. Nobody waits longer than for two answers, `answer_seconds` each:
    when one does not come, all who wait are told so, and nobody asks before there is a new connection.
    """

    def __init__(self, redis: Redis, prefix: str, *, answer_seconds: float, script: str = SCRIPT) -> None:
        self._redis = redis
        self._prefix = f"{prefix}rate:"
        self._answer_seconds = answer_seconds
        self._script = script
        self._digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._connection: AbstractConnection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        # Each message has one deadline for all of it; the client's own for each write costs a task.
        self._connection.socket_timeout = None
        self._waiting: list[_Question] = []
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()
        self._told_away = False
        self.breaker = Breaker()
        self.ready = False
        """Whether to ask at all."""
        self.term = 0
        """Counts the connections."""
        BREAKER_STATE.set(State.CLOSED)

    async def charge(
        self, names: Sequence[str], limits: Sequence[Limit], owed: Sequence[int], cost: int, paid: int = 0
    ) -> tuple[bool, list[int]] | None:
        """Return whether `cost` units pass all the buckets, and their debts then; None without an answer.

        `paid` units of the same request were charged before.
        """
        if not self.ready or len(self._waiting) >= MAX_WAITING:
            return None
        words: list[str | int] = ["EVALSHA", self._digest, len(names)]
        words += [self._prefix + name for name in names]
        words += (cost, paid)
        for limit, debt in zip(limits, owed, strict=True):
            words += (limit.interval, limit.capacity, debt)
        question = _Question(words, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        self._wanted.set()
        answer = await question.answer
        if answer is None:
            return None
        allowed, *debts = answer
        return bool(allowed), debts

    async def tried(self) -> None:
        """Return when it was tried to connect, with or without success."""
        await self._tried.wait()

    async def run(self) -> None:
        """Answer questions until cancelled; connect, and connect again, as often as it takes."""
        try:
            while True:
                try:
                    await self._connect()
                    await self._exchange()
                except (RedisError, OSError, TimeoutError, RuntimeError) as error:
                    # A RuntimeError is uvloop's, for writing to a connection that was reset meanwhile.
                    self._lost(error)
                await self._pause()
        finally:
            self._give_up([])
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._connection.disconnect(nowait=True)
                    await self._redis.aclose()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connection.connect()  # type: ignore[no-untyped-call]
                # A write, because a master that has become a replica answers everything else.
                for words in (
                    ("SCRIPT", "LOAD", self._script),
                    ("SET", f"{self._prefix}probe", 1, "PX", 1000),
                ):
                    await self._connection.send_command(*words)
                    await self._connection.read_response()
        finally:
            self._tried.set()
        if self.breaker.state is State.HALF_OPEN:
            self.breaker.end_probe(answered=True)
            BREAKER_STATE.set(State.CLOSED)
        if self._told_away:
            log.info("rate limits are shared again")
            self._told_away = False
        self.term += 1
        self.ready = True

    async def _exchange(self) -> None:
        """Send what waits, and read the answers, one message after the other."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                asked = self._waiting[:MAX_AT_ONCE]
                del self._waiting[:MAX_AT_ONCE]
                try:
                    async with asyncio.timeout(self._answer_seconds):
                        await self._ask(asked)
                except BaseException:
                    self._give_up(asked)
                    raise
                self.breaker.succeeded()

    async def _ask(self, asked: Sequence[_Question]) -> None:
        packed = b"".join(
            part for question in asked for part in self._connection.pack_command(*question.words)
        )
        await self._connection.send_packed_command(packed, check_health=False)
        for question in asked:
            answer = await self._connection.read_response()
            if not question.answer.done():  # its caller may be gone
                question.answer.set_result(answer)

    def _give_up(self, asked: Sequence[_Question]) -> None:
        """Tell all who wait that there is no answer, and let nobody ask."""
        self.ready = False
        for question in (*asked, *self._waiting):
            if not question.answer.done():
                question.answer.set_result(None)
        self._waiting.clear()

    def _lost(self, error: Exception) -> None:
        late = isinstance(error, (TimeoutError, RedisTimeoutError))
        REDIS_FAILURES.labels("timeout" if late else "error").inc()
        if self.breaker.state is State.HALF_OPEN:
            self.breaker.end_probe(answered=False)
        elif self.breaker.failed() and not self._told_away:
            self._told_away = True
            log.warning(
                "rate limits are each process's own while Redis is away: %s", error or "no answer in time"
            )
        BREAKER_STATE.set(self.breaker.state)

    async def _pause(self) -> None:
        """Return when it is time to connect: at once while the breaker is closed."""
        # What an answer was not awaited for would be taken for that to the next question.
        await self._connection.disconnect(nowait=True)
        while self.breaker.state is State.OPEN:
            await asyncio.sleep(self.breaker.pause_seconds)
            if self.breaker.begin_probe():
                BREAKER_STATE.set(State.HALF_OPEN)
