"""Answers that were computed before: the same while nothing changes, forgotten when something does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from nats.aio.client import Client

from quarry_common.cache import hearing
from quarry_common.contracts.caches import FORGET, PURGE_REDIS, REPORT, ForgetCached, PurgeRedis
from quarry_common.contracts.events import DocumentIndexed, envelope, subject_of
from quarry_common.contracts.rpc import Nothing
from quarry_common.contracts.search import Answer, CacheUse, SearchMode
from quarry_common.embedding import pool as embedder_pool
from quarry_common.errors import RemoteError, UnavailableError
from quarry_common.messaging.broker import connect
from quarry_common.messaging.heartbeat import Heartbeat
from quarry_common.service import serve
from quarry_search.service import build
from quarry_search.settings import SearchSettings

from .conftest import Search

HIT, MISS, OFF = CacheUse.HIT, CacheUse.MISS, CacheUse.OFF
OWN = ("query_id", "timings_ms", "cache")
"""What of an answer is its own though it was computed before."""


class Outbox:
    """Stands for the indexer's: tells of changes, and that nothing was missed."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection
        self.lag_ms: float | None = 0.0

    async def tell(self, tenant_id: UUID) -> None:
        data = DocumentIndexed(uuid4(), uuid4(), "default", None, 1, 1)
        event = envelope(data, source="indexer", tenant_id=tenant_id)
        await self._connection.publish(subject_of(event), msgspec.json.encode(event))
        await self._connection.flush(timeout=5)


@pytest.fixture(scope="module")
async def outbox(settings: SearchSettings) -> AsyncIterator[Outbox]:
    stopping = asyncio.Event()
    async with connect(settings, "test-outbox") as connection:
        outbox = Outbox(connection)
        beating = asyncio.create_task(Heartbeat(connection, "indexer", lambda: outbox.lag_ms).run(stopping))
        yield outbox
        stopping.set()
        await beating


async def asked(search: Search, use: CacheUse, text: str = "stone", **options: Any) -> Answer:
    """Return the answer as soon as it comes from where it is wanted."""
    async with asyncio.timeout(15):
        while (answer := await search.ask(text, **options)).cache is not use:
            await asyncio.sleep(0.02)
    return answer


def content(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(answer).items() if name not in OWN}


@pytest.mark.parametrize("mode", SearchMode)
async def test_a_repeated_search_is_answered_with_the_same(
    search: Search, outbox: Outbox, mode: SearchMode
) -> None:
    await search.store("a stone", "another stone", tags=["t"], metadata={"n": 1.5, "list": [1, "x", None]})
    options: dict[str, Any] = {"mode": mode, "highlight": True, "limit": 1}

    first = await asked(search, MISS, **options)
    again = await asked(search, HIT, **options)

    assert content(again) == content(first)
    assert again.query_id != first.query_id
    assert set(again.timings_ms) == {"total"}
    following = await search.ask("stone", **options, cursor=again.next_cursor)
    assert following.results[0].chunk_id != again.results[0].chunk_id


async def test_a_change_is_seen_when_its_event_is(search: Search, outbox: Outbox) -> None:
    await search.store("a stone")
    await asked(search, HIT)

    await search.store("a new stone")
    await outbox.tell(search.tenant_id)

    async with asyncio.timeout(1):
        while (answer := await search.ask("stone")).total != 2:
            await asyncio.sleep(0.01)
    assert answer.cache is MISS


async def test_another_tenants_change_forgets_nothing(search: Search, outbox: Outbox) -> None:
    await search.store("a stone")
    await asked(search, HIT)

    await outbox.tell(uuid4())

    assert (await search.ask("stone")).cache is HIT


async def test_what_differs_in_anything_is_another_search(search: Search, outbox: Outbox) -> None:
    await search.store("a stone", allowed_principals=["ada"])
    await search.store("an open stone")
    await asked(search, HIT)

    ada = await search.ask("stone", principals=frozenset({"ada"}))
    stranger = Search(search.rpc, search.index, search.embedder, uuid4())

    assert (ada.cache, ada.total) == (MISS, 2)
    assert (await search.ask("stone")).total == 1
    assert (await search.ask("stone", limit=1)).cache is MISS
    assert (await stranger.ask("stone")).total == 0


async def test_an_explanation_is_always_of_its_own_search(search: Search, outbox: Outbox) -> None:
    await search.store("a stone")
    await asked(search, HIT)

    assert (await search.ask("stone", explain=True)).cache is OFF
    assert (await search.ask("stone", explain=True)).cache is OFF


@pytest.mark.parametrize("lag_ms", [None, 5_000.0])
async def test_nothing_is_cached_while_changes_may_be_unheard(
    search: Search, outbox: Outbox, lag_ms: float | None
) -> None:
    await search.store("a stone")
    await asked(search, HIT)
    try:
        outbox.lag_ms = lag_ms
        await asked(search, OFF)
        await search.store("a new stone")

        assert (await search.ask("stone")).total == 2
    finally:
        outbox.lag_ms = 0.0
    # What waited in the outbox is published now.
    await outbox.tell(search.tenant_id)
    assert (await asked(search, MISS)).total == 2


async def test_a_query_is_embedded_once(
    search: Search, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    embed = embedder_pool.EmbedderPool.embed

    async def counted(self: Any, texts: Any, **options: Any) -> Any:
        embedded.extend(texts)
        return await embed(self, texts, **options)

    monkeypatch.setattr(embedder_pool.EmbedderPool, "embed", counted)
    for limit in range(1, 6):
        await search.ask("a text of its own", limit=limit)

    assert embedded == ["a text of its own"]


@asynccontextmanager
async def another_instance(settings: SearchSettings) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with build(settings) as built:
        task = asyncio.create_task(serve(built, settings, stopping))
        try:
            yield
        finally:
            stopping.set()
            await task


async def all_cache(search: Search) -> None:
    """Wait until every instance answers from its cache: each takes about as many of the questions."""
    in_a_row = 0
    async with asyncio.timeout(15):
        while in_a_row < 30:
            answer = await search.ask("stone", mode=SearchMode.KEYWORD, limit=50)
            in_a_row = in_a_row + 1 if answer.cache is HIT else 0


async def test_no_instance_answers_with_what_is_older_than_a_second(
    search: Search, outbox: Outbox, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "PROBATION_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    written = [(0, loop.time())]
    stale: list[str] = []
    hits = 0
    stop = asyncio.Event()

    async def read() -> None:
        nonlocal hits
        while not stop.is_set():
            began = loop.time()
            known = max((count for count, at in written if at < began - 1), default=0)
            answer = await search.ask("stone", mode=SearchMode.KEYWORD, limit=50)
            hits += answer.cache is HIT
            if answer.total < known:
                stale.append(f"{answer.total} of {known}")

    async with another_instance(settings):
        await all_cache(search)
        readers = [asyncio.create_task(read()) for _ in range(8)]
        for number in range(1, 21):
            await search.store(f"stone number {number}")
            await outbox.tell(search.tenant_id)
            written.append((number, loop.time()))
            await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*readers)

    assert stale == []
    assert hits > 0
    assert (await search.ask("stone", mode=SearchMode.KEYWORD, limit=50)).total == 20


async def answered(search: Search, limits: range) -> int:
    """Return how many of so many questions are answered: each instance takes about as many of them."""
    count = 0
    for limit in limits:
        with suppress(RemoteError):
            await search.ask("stone", mode=SearchMode.SEMANTIC, limit=limit)
            count += 1
    return count


async def test_after_a_purge_no_instance_answers_with_what_was_cached(
    search: Search, outbox: Outbox, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "PROBATION_SECONDS", 0.3)
    other = Search(search.rpc, search.index, search.embedder, uuid4())

    async def no_embedding(*_: Any, **__: Any) -> Any:
        raise UnavailableError("There is no embedder now.")

    async with another_instance(settings):
        for tenant in (search, other):
            await tenant.store("a stone")
            await all_cache(tenant)
            await answered(tenant, range(1, 31))
            # Nobody is told of it: who finds two has not answered from a cache.
            await tenant.store("a new stone")
        asked = ForgetCached(search.tenant_id, uuid4())

        before = await search.rpc.gather(FORGET, asked, seconds=0.5)
        removed = await search.rpc.call(PURGE_REDIS, PurgeRedis(search.tenant_id))
        after = await search.rpc.gather(FORGET, asked, seconds=0.5)

        monkeypatch.setattr(embedder_pool.EmbedderPool, "embed", no_embedding)
        mine = [await search.ask("stone", mode=SearchMode.KEYWORD, limit=50) for _ in range(30)]
        theirs = [await other.ask("stone", mode=SearchMode.KEYWORD, limit=50) for _ in range(30)]
        mine_embedded = await answered(search, range(51, 81))
        theirs_embedded = await answered(other, range(51, 81))

    assert (len(before), len(after)) == (2, 2)
    # One of the two has kept each of the answers.
    assert sum(each.entries for each in before) > 30
    assert removed.entries > 0
    assert removed.complete
    assert {answer.total for answer in mine} == {2}
    assert {(answer.total, answer.cache) for answer in theirs} == {(1, HIT)}
    assert (mine_embedded, theirs_embedded) == (0, 30)


async def test_an_instance_tells_how_its_caches_do(search: Search, outbox: Outbox) -> None:
    await search.store("a stone")
    await asked(search, HIT)

    (told,) = await search.rpc.gather(REPORT, Nothing(), seconds=0.5)

    answers, embeddings = told.caches
    assert (told.service, answers.name, embeddings.name) == ("search", "answers", "embeddings")
    assert answers.hits > 0
    assert answers.memory.entries
    assert answers.memory.bytes
    assert answers.breaker == "closed"
    assert told.redis is not None
    assert told.redis.entries > 0


async def test_look_ups_are_counted_apart_while_caching_pauses(search: Search, outbox: Outbox) -> None:
    await search.store("a stone")
    await asked(search, HIT)
    try:
        outbox.lag_ms = None
        await asked(search, OFF)
        (before,) = await search.rpc.gather(REPORT, Nothing(), seconds=0.5)
        await search.ask("stone")
        (after,) = await search.rpc.gather(REPORT, Nothing(), seconds=0.5)
    finally:
        outbox.lag_ms = 0.0

    assert after.caches[0].paused == before.caches[0].paused + 1
    assert after.caches[0].misses == before.caches[0].misses
