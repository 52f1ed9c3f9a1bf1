"""Generations over real NATS and Redis: what has changed is not found, and who may have missed something
keeps nothing."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest
from libs.common.tests.integration.cache.conftest import MortalRedis, settings_of
from libs.common.tests.integration.conftest import MortalNats, Until
from nats.aio.client import Client

from quarry_common.cache import hearing
from quarry_common.cache.cache import Cache, open_cache
from quarry_common.cache.generations import SETTLING_SECONDS, Generations, open_generations
from quarry_common.cache.keys import Generation
from quarry_common.contracts.events import DocumentDeleted, DocumentIndexed, EventData, envelope, subject_of
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.heartbeat import Beat, Heartbeat, subject
from quarry_common.settings import NatsSettings, load


@pytest.fixture(autouse=True)
def short_probation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "PROBATION_SECONDS", 0.3)


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def indexed() -> EventData:
    return DocumentIndexed(uuid4(), uuid4(), "default", None, 1, 1)


async def publish(bus: Client, tenant: UUID, data: EventData) -> bytes:
    event = envelope(data, source="indexer", tenant_id=tenant)
    body = b'{"id":"%b"}' % event.id.encode()
    await bus.publish(subject_of(event), body)
    await bus.flush()
    return body


@asynccontextmanager
async def running(part: Heartbeat | Generations) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(part.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


class Relay:
    """What the indexer's outbox tells of itself."""

    def __init__(self) -> None:
        self.lag_ms: float | None = 0.0

    def __call__(self) -> float | None:
        return self.lag_ms


class Process:
    """A process that caches: connections and tiers of its own."""

    def __init__(self, bus: Client, cache: Cache, generations: Generations) -> None:
        self.bus = bus
        self.cache = cache
        self.generations = generations

    def now(self, tenant: UUID) -> Generation | None:
        return self.generations.generation(tenant)

    async def trusts(self, tenant: UUID) -> bool:
        return self.generations.trustworthy(tenant)

    async def trusts_no_more(self, tenant: UUID) -> bool:
        return not self.generations.trustworthy(tenant)

    async def shares(self, tenant: UUID) -> bool:
        generation = self.now(tenant)
        return generation is not None and generation.shared is not None

    async def get(self, tenant: UUID) -> bytes | None:
        return await self.cache.get(tenant, "key", generation=self.now(tenant))

    async def set(self, tenant: UUID, value: bytes) -> None:
        await self.cache.set(tenant, "key", value, generation=self.now(tenant))


StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(nats_url: str, redis_url: str, prefix: str) -> AsyncIterator[StartProcess]:
    async with AsyncExitStack() as stack:

        async def started(
            *, nats: NatsSettings | None = None, redis: str = redis_url, within: AsyncExitStack = stack
        ) -> Process:
            settings = settings_of(redis, prefix)
            connected = broker.connect(nats or load(NatsSettings, {"NATS_URL": nats_url}), "test")
            bus = await within.enter_async_context(connected)
            cache = await within.enter_async_context(open_cache(settings, "search"))
            generations = await within.enter_async_context(open_generations(settings, bus, cache))
            await within.enter_async_context(running(generations))
            return Process(bus, cache, generations)

        yield started


@pytest.fixture
async def relay(bus: Client) -> AsyncIterator[Relay]:
    told = Relay()
    async with running(Heartbeat(bus, "indexer", told)):
        yield told


async def test_without_heartbeats_nothing_is_cached(start: StartProcess, tenant: UUID) -> None:
    process = await start()
    await process.set(tenant, b"value")
    await asyncio.sleep(0.5)
    assert process.now(tenant) is None
    assert await process.get(tenant) is None


async def test_what_was_kept_before_an_event_is_not_found_after_it(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    process, other_tenant = await start(), uuid4()
    await until(lambda: process.shares(tenant))
    await until(lambda: process.shares(other_tenant))
    before = process.now(tenant)
    for each in (tenant, other_tenant):
        await process.set(each, b"old")
    assert await process.get(tenant) == b"old"

    await publish(bus, tenant, indexed())

    async def gone() -> bool:
        return await process.get(tenant) is None

    async with asyncio.timeout(1):
        await until(gone)
    await until(lambda: process.shares(tenant))
    after = process.now(tenant)
    assert before is not None
    assert after is not None
    assert (before.local, before.shared) != (after.local, after.shared)
    assert after.shared != before.shared
    assert await process.get(tenant) is None
    assert await process.get(other_tenant) == b"old"
    assert process.cache.stats().memory.entries == 1


async def test_what_is_computed_from_before_an_event_is_not_found_after_it(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    process = await start()
    await until(lambda: process.shares(tenant))
    heard = process.now(tenant)

    async def compute() -> bytes:
        await publish(bus, tenant, indexed())

        async def changed() -> bool:
            return process.now(tenant) != heard

        await until(changed)
        return b"of before"

    assert await process.cache.get_or_compute(tenant, "key", compute, generation=heard) == b"of before"
    assert await process.get(tenant) is None
    await until(lambda: process.shares(tenant))
    assert await process.get(tenant) is None


async def test_events_that_come_in_another_order_are_not_overlooked(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    """Ids are made before their transactions end: the older one may come last."""
    process = await start()
    older, newer = new_id(), new_id()
    subject_name = f"evt.v1.{tenant}.document.updated"
    await until(lambda: process.shares(tenant))
    await bus.publish(subject_name, b'{"id":"%s"}' % str(newer).encode())
    await bus.flush()
    await until(lambda: process.shares(tenant))
    await process.set(tenant, b"between")
    seen = process.now(tenant)

    await bus.publish(subject_name, b'{"id":"%s"}' % str(older).encode())
    await bus.flush()

    async def changed() -> bool:
        return await process.shares(tenant) and process.now(tenant) != seen

    await until(changed)
    assert await process.get(tenant) is None


async def test_processes_share_what_both_know_to_be_present(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    one = await start()
    await until(lambda: one.shares(tenant))
    await one.set(tenant, b"before")

    # One that starts afresh believes what others vouch for once it has listened long enough itself.
    other = await start()
    await until(lambda: other.trusts(tenant))
    assert not await other.shares(tenant)
    assert await other.get(tenant) is None
    await until(lambda: other.shares(tenant))
    assert await other.get(tenant) == b"before"

    for _ in range(5):
        body = await publish(bus, tenant, indexed())
        # What an outbox publishes twice is no news the second time.
        await bus.publish(f"evt.v1.{tenant}.document.indexed", body)
        await bus.flush()

    async def agreed() -> bool:
        mine, theirs = one.now(tenant), other.now(tenant)
        return mine is not None and theirs is not None and None is not mine.shared == theirs.shared

    async def gone() -> bool:
        return await one.get(tenant) is None and await other.get(tenant) is None

    async with asyncio.timeout(1):
        await until(gone)
    await until(agreed)
    await one.set(tenant, b"after")
    assert await other.get(tenant) == b"after"


async def test_what_nobody_listened_to_is_not_vouched_for(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    async with AsyncExitStack() as life:
        first = await start(within=life)
        await until(lambda: first.shares(tenant))
        await first.set(tenant, b"old")
    await publish(bus, tenant, indexed())

    second = await start()
    await until(lambda: second.shares(tenant))
    assert await second.get(tenant) is None


async def test_caching_stops_when_the_bus_is_gone_and_begins_anew_with_it(
    start: StartProcess, mortal_nats: MortalNats, tenant: UUID, until: Until
) -> None:
    process = await start(nats=mortal_nats.settings)
    async with (
        broker.connect(mortal_nats.settings, "indexer") as bus,
        running(Heartbeat(bus, "indexer", Relay())),
    ):
        await until(lambda: process.shares(tenant))
        before = process.now(tenant)
        await process.set(tenant, b"old")
        # No event makes it old, but to be told to forget it may be missed, too.
        await process.cache.set(tenant, "vector", b"kept")

        mortal_nats.kill()
        async with asyncio.timeout(1):
            await until(lambda: process.trusts_no_more(tenant))
        assert process.now(tenant) is None
        assert await process.get(tenant) is None
        assert process.cache.stats().memory.entries == 0

        mortal_nats.start()
        await until(lambda: process.shares(tenant))
        after = process.now(tenant)
        assert before is not None
        assert after is not None
        assert after.local != before.local
        assert after.shared != before.shared
        assert await process.get(tenant) is None


async def test_caching_stops_with_the_heartbeats_and_goes_on_with_them(
    start: StartProcess, relay: Relay, tenant: UUID, until: Until
) -> None:
    process = await start()
    await until(lambda: process.trusts(tenant))
    await process.set(tenant, b"value")

    relay.lag_ms = hearing.MAX_LAG_MS + 1
    async with asyncio.timeout(1):
        await until(lambda: process.trusts_no_more(tenant))
    assert await process.get(tenant) is None
    relay.lag_ms = 0.0
    await until(lambda: process.trusts(tenant))
    assert await process.get(tenant) == b"value"

    # Not the relay any more: silent. And when it is again, others may have been in between.
    relay.lag_ms = None
    await until(lambda: process.trusts_no_more(tenant))
    relay.lag_ms = 0.0
    await until(lambda: process.trusts(tenant))
    assert await process.get(tenant) is None


async def test_only_the_relay_has_a_heartbeat(bus: Client, until: Until) -> None:
    relay, heard = Relay(), []
    relay.lag_ms = None

    async def hear(message: object) -> None:
        heard.append(message)

    subscription = await bus.subscribe(subject("indexer"), cb=hear)
    async with running(Heartbeat(bus, "indexer", relay)):
        await asyncio.sleep(0.6)
        assert heard == []
        relay.lag_ms = 12.5

        async def some() -> bool:
            return len(heard) >= 3

        await until(some)
    await subscription.unsubscribe()


async def test_a_tenant_settles_after_a_deletion(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    """Its event is published before the points are gone."""
    process = await start()
    await until(lambda: process.trusts(tenant))
    published = time.monotonic()
    await publish(bus, tenant, DocumentDeleted(uuid4(), "default", None))

    await until(lambda: process.trusts_no_more(tenant))
    assert await process.trusts(uuid4())
    await until(lambda: process.trusts(tenant))
    assert time.monotonic() - published >= SETTLING_SECONDS


async def test_without_redis_a_process_caches_by_itself_and_shares_again_later(
    start: StartProcess,
    relay: Relay,
    bus: Client,
    mortal_redis: MortalRedis,
    tenant: UUID,
    until: Until,
) -> None:
    process = await start(redis=mortal_redis.url)
    await until(lambda: process.shares(tenant))
    await process.set(tenant, b"old")
    mortal_redis.freeze()

    async def alone() -> bool:
        return process.now(tenant) is not None and not await process.shares(tenant)

    await until(alone)
    assert await process.get(tenant) == b"old"
    await publish(bus, tenant, indexed())

    async def gone() -> bool:
        return await process.get(tenant) is None

    await until(gone)
    await process.set(tenant, b"new")
    assert await process.get(tenant) == b"new"

    mortal_redis.wake()
    await until(lambda: process.shares(tenant))
    assert await process.get(tenant) == b"new"


class Elsewhere(threading.Thread):
    """A publisher that goes on while this process stands still."""

    def __init__(self, settings: NatsSettings, tenant: UUID) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._tenant = tenant
        self.publish_event = threading.Event()
        self.published = threading.Event()
        self.over = threading.Event()

    def run(self) -> None:
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        async with (
            broker.connect(self._settings, "elsewhere") as bus,
            running(Heartbeat(bus, "indexer", Relay())),
        ):
            while not self.over.is_set():
                if self.publish_event.is_set() and not self.published.is_set():
                    await publish(bus, self._tenant, indexed())
                    self.published.set()
                await asyncio.sleep(0.005)


async def test_a_process_that_stood_still_serves_nothing_old_when_it_wakes(
    start: StartProcess, nats_url: str, tenant: UUID, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await start()
    overtaken: list[int] = []
    """Events that had not been heard yet, at each heartbeat."""
    hear = hearing.Hearing.hear

    def listen(self: hearing.Hearing, beat: Beat, now: float) -> bool:
        overtaken.append(sum(each.pending_msgs for each in process.generations._listener._events))
        return hear(self, beat, now)

    monkeypatch.setattr(hearing.Hearing, "hear", listen)
    elsewhere = Elsewhere(load(NatsSettings, {"NATS_URL": nats_url}), tenant)
    elsewhere.start()
    try:
        await until(lambda: process.trusts(tenant))
        old = process.now(tenant)
        overtaken.clear()

        # The loop stands still; heartbeats pile up, then the event, then heartbeats.
        time.sleep(0.6)  # noqa: ASYNC251
        elsewhere.publish_event.set()
        assert elsewhere.published.wait(10)
        time.sleep(1.2)  # noqa: ASYNC251

        assert process.now(tenant) is None
        for _ in range(1_000):
            now = process.now(tenant)
            assert now is None or (old is not None and now.local != old.local)
            await asyncio.sleep(0)
        await until(lambda: process.trusts(tenant))
        assert overtaken
        assert not any(overtaken)
    finally:
        elsewhere.over.set()
        with suppress(RuntimeError):
            await asyncio.to_thread(elsewhere.join)


async def test_an_event_without_a_readable_body_counts(
    start: StartProcess, relay: Relay, bus: Client, tenant: UUID, until: Until
) -> None:
    process = await start()
    await until(lambda: process.shares(tenant))
    await process.set(tenant, b"old")
    await bus.publish(f"evt.v1.{tenant}.collection.updated", b"\xff")
    await bus.publish("evt.v1.nobody.document.indexed", b"{}")
    await bus.publish(subject("indexer"), b"\xff")
    await bus.flush()

    async def gone() -> bool:
        return await process.get(tenant) is None

    await until(gone)
    await until(lambda: process.shares(tenant))
    assert await process.get(tenant) is None


async def test_what_is_renewed_is_not_found_and_the_same_cause_is_the_same_for_all(
    start: StartProcess, relay: Relay, tenant: UUID, until: Until
) -> None:
    one, two, other_tenant = await start(), await start(), uuid4()
    for process in (one, two):
        for each in (tenant, other_tenant):
            await until(lambda process=process, each=each: process.shares(each))  # type: ignore[misc]
    for each in (tenant, other_tenant):
        await one.set(each, b"old")
    before = one.now(tenant)

    for process in (one, two):
        process.generations.renew(tenant, "a purge")
    assert await one.get(tenant) is None
    for process in (one, two):
        await until(lambda process=process: process.shares(tenant))  # type: ignore[misc]

    after = one.now(tenant)
    assert before is not None
    assert after is not None
    assert after.shared != before.shared
    assert await two.get(tenant) is None
    assert await two.get(other_tenant) == b"old"
    await one.set(tenant, b"new")
    assert await two.get(tenant) == b"new"

    one.generations.renew(None, "a purge of all")
    assert await one.get(other_tenant) is None
