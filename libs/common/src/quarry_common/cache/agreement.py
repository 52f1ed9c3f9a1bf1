"""What the processes of an installation agree on in Redis: the present generation of each tenant's content.

A generation is a token that nobody can guess or repeat. An event that Redis has not seen makes a new one; the
same event from another process finds it made. That a record has seen every event is vouched for by the
*watch*, a key that lives for two seconds and that only processes which hear everything prolong. When it ends,
or when it is another server that answers, all records are void. docs/cache.md has the whole argument.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import msgspec
from redis.asyncio import Redis

from quarry_common.cache.hearing import MAX_DELAY_SECONDS, SILENCE_SECONDS

WATCH_SECONDS = 2.0
GUARD_SECONDS = 1.0
"""A command that reaches Redis later than that after it was decided on vouches for nothing."""
JOIN_SECONDS = WATCH_SECONDS + GUARD_SECONDS + SILENCE_SECONDS + MAX_DELAY_SECONDS
"""For which a process has heard everything before it believes what others vouch for."""
RECORD_SECONDS = 86_400
EVENT_SECONDS = 600.0
"""For which an event is recognised when it comes again."""
MAX_EVENTS = 2_000
"""In one exchange; Redis stands still for it, some milliseconds."""

# `run_id` changes with the process that answers: a replica that was promoted, or a server that was started
# again, may lack what the one before had said.
_EXCHANGE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told = cjson.decode(ARGV[1])
if now < told.clock or now - told.clock > told.guard_ms then
    return {now}
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local watch = redis.call('GET', KEYS[1])
if watch and string.sub(watch, 1, #run) ~= run then
    watch = false
end
local begun = not watch
if begun then
    if not told.hearing then
        return {now, ''}
    end
    watch = run .. '-' .. told.nonce
elseif watch ~= told.watch and not told.joining then
    return {now, ''}
end
local answer = {now, watch}
for place, tenant in ipairs(told.tenants) do
    local record = KEYS[place * 2]
    local seen = KEYS[place * 2 + 1]
    local held = redis.call('HMGET', record, 'watch', 'generation')
    local generation = held[1] == watch and held[2]
    if not generation then
        redis.call('DEL', record, seen)
    end
    if generation or tenant.wanted then
        local new = not generation
        for _, event in ipairs(tenant.events) do
            new = redis.call('ZADD', seen, 'NX', now, event) == 1 or new
        end
        if new then
            generation = told.nonce .. '-' .. place
            redis.call('HSET', record, 'watch', watch, 'generation', generation)
        end
        redis.call('ZREMRANGEBYSCORE', seen, '-inf', now - told.event_ms)
        redis.call('EXPIRE', record, told.record_seconds)
        redis.call('EXPIRE', seen, told.record_seconds)
    end
    answer[place + 2] = generation or ''
end
if begun or told.vouching then
    redis.call('SET', KEYS[1], watch, 'PX', told.watch_ms)
end
return answer
"""


class News(msgspec.Struct, frozen=True):
    """What is to be told of one tenant: events heard, and whether its generation is wanted."""

    events: Sequence[str]
    wanted: bool


class Agreed(msgspec.Struct, frozen=True):
    """What Redis answered. `generations` is None for a process that is not on the watch."""

    watch: str
    generations: Mapping[UUID, str] | None


class _Told(msgspec.Struct, frozen=True):
    clock: int
    watch: str
    hearing: bool
    vouching: bool
    joining: bool
    nonce: str
    tenants: list[News]
    guard_ms: float = GUARD_SECONDS * 1000
    watch_ms: float = WATCH_SECONDS * 1000
    event_ms: float = EVENT_SECONDS * 1000
    record_seconds: int = RECORD_SECONDS


class Agreement:
    """This process's part in the watch. Calls must not overlap."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._script = redis.register_script(_EXCHANGE)
        self._clock = 0
        """Redis' own, in milliseconds, as it was in its last answer."""
        self._watch = ""

    def leave(self) -> None:
        """Let others vouch for what happens from now on."""
        self._watch = ""

    async def exchange(
        self, news: Mapping[UUID, News], *, hearing: bool, vouching: bool, joining: bool
    ) -> Agreed | None:
        """Tell Redis the news and return the generation of every tenant in it; empty for one that has none.

        None means that nothing was done, because Redis' time was not known well enough: decide anew.

        `hearing`: every event published more than a second ago has been heard. `vouching`: and it is in
        these news, or was in earlier ones. `joining`: and none has been lost for `JOIN_SECONDS`.
        Raises `RedisError`, `OSError`.
        """
        if not self._clock:
            seconds, micros = await self._redis.time()
            self._clock = seconds * 1000 + micros // 1000
            return None
        told = _Told(
            clock=self._clock,
            watch=self._watch,
            hearing=hearing,
            vouching=vouching,
            joining=joining,
            nonce=uuid4().hex,
            tenants=list(news.values()),
        )
        keys = [f"{self._prefix}watch"]
        for tenant in news:
            keys += [f"{self._prefix}generation:{tenant}", f"{self._prefix}generation:{tenant}:events"]
        clock, *rest = await self._script(keys, [msgspec.json.encode(told)])
        self._clock = int(clock)
        if not rest:
            return None
        self._watch, *generations = (each.decode() for each in rest)
        if not self._watch:
            return Agreed("", None)
        return Agreed(self._watch, dict(zip(news, generations, strict=True)))
