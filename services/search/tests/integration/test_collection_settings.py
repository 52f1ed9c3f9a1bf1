"""Searches follow the settings of the collections that they search, as the indexer tells them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import msgspec
import pytest
from nats.aio.client import Client

from quarry_common.contracts.collections import SETTINGS, AllSettings, CollectionSettings, ListSettings
from quarry_common.contracts.events import CollectionUpdated, envelope, subject_of
from quarry_common.contracts.filters import AnyOf, Field
from quarry_common.contracts.search import SearchMode
from quarry_common.errors import UnavailableError
from quarry_common.messaging.broker import connect
from quarry_common.messaging.rpc import RpcServer
from quarry_search.settings import SearchSettings

from .conftest import Search

KEYWORD = SearchMode.KEYWORD


class Indexer:
    """Stands for the indexer: tells of settings, in pages of one collection."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection
        self.settings: dict[UUID, dict[str, CollectionSettings]] = {}
        self.asked: list[UUID] = []
        self.broken = False

    async def answer(self, request: ListSettings) -> AllSettings:
        self.asked.append(request.tenant_id)
        if self.broken:
            raise UnavailableError("The database cannot be reached.")
        left = sorted(
            (name, each)
            for name, each in self.settings.get(request.tenant_id, {}).items()
            if name > request.after
        )
        return AllSettings(dict(left[:1]), left[0][0] if len(left) > 1 else None, others=False)

    async def set(self, search: Search, name: str = "default", **settings: object) -> None:
        """Change a collection's settings and tell of it."""
        of_tenant = self.settings.setdefault(search.tenant_id, {})
        of_tenant[name] = CollectionSettings(**settings)  # type: ignore[arg-type]
        event = envelope(
            CollectionUpdated(name, list(settings)), source="indexer", tenant_id=search.tenant_id
        )
        await self._connection.publish(subject_of(event), msgspec.json.encode(event))
        await self._connection.flush(timeout=5)


@pytest.fixture
async def indexer(settings: SearchSettings) -> AsyncIterator[Indexer]:
    stopping = asyncio.Event()
    async with connect(settings, "test-indexer") as connection:
        indexer = Indexer(connection)
        server = RpcServer(connection, "indexer")
        server.answer(SETTINGS, indexer.answer)
        running = asyncio.create_task(server.run(stopping))
        await connection.flush(timeout=5)
        yield indexer
        stopping.set()
        await running


async def found(search: Search, query: str, wanted: Callable[[list[str]], bool], name: str = "") -> list[str]:
    """Return the texts that are found, as soon as they are those wanted."""
    filters = AnyOf(Field.COLLECTION, (name,)) if name else None
    async with asyncio.timeout(10):
        while not wanted(texts := await search.texts(query, mode=KEYWORD, filters=filters)):
            await asyncio.sleep(0.02)
    return texts


async def test_synonyms_are_found_once_they_are_set(search: Search, indexer: Indexer) -> None:
    await search.store("a laptop", "a tower")
    assert await search.texts("notebook", mode=KEYWORD) == []

    await indexer.set(search, synonyms=[["notebook", "laptop"]])

    assert await found(search, "notebook", bool) == ["a laptop"]
    explained = (await search.ask("notebook", mode=KEYWORD, explain=True)).explanation
    assert explained is not None
    assert explained.terms == ["laptop", "notebook"]


async def test_stop_words_count_for_nothing(search: Search, indexer: Indexer) -> None:
    await search.store("product product product", "the manual of a product")
    await indexer.set(search, stop_words=["product"])

    texts = await found(search, "product manual", lambda texts: len(texts) == 1)

    assert texts == ["the manual of a product"]


async def test_a_weight_decides_between_the_legs(search: Search, indexer: Indexer) -> None:
    await search.store("centrifugal impeller", "a machine that moves water")

    orders = []
    for weight in (0.0, 1.0):
        await indexer.set(search, dense_weight=weight)
        async with asyncio.timeout(10):
            while True:
                answer = await search.ask("impeller water machine", explain=True)
                assert answer.explanation is not None
                if answer.explanation.dense_weight == weight:
                    break
        orders.append([result.score for result in answer.results])
    assert orders[0] != orders[1]


async def test_each_collection_has_its_own(search: Search, indexer: Indexer) -> None:
    await search.store("a laptop", collection="first")
    await search.store("one laptop", collection="second")
    await indexer.set(search, "first", synonyms=[["notebook", "laptop"]])
    await indexer.set(search, "second", stop_words=["nothing"])

    assert await found(search, "notebook", bool, "first") == ["a laptop"]
    assert await found(search, "notebook", lambda texts: not texts, "second") == []
    assert sorted(await found(search, "notebook", bool)) == ["a laptop", "one laptop"]


async def test_they_are_asked_for_once_and_of_ones_own_tenant(search: Search, indexer: Indexer) -> None:
    await search.store("a laptop")
    other = Search(search.rpc, search.index, search.embedder, UUID(int=search.tenant_id.int ^ 1))
    await other.store("a laptop")
    await indexer.set(search, synonyms=[["notebook", "laptop"]])
    await found(search, "notebook", bool)
    indexer.asked.clear()

    for number in range(5):
        assert await search.texts(f"notebook {number}", mode=KEYWORD) == ["a laptop"]
        assert await other.texts(f"notebook {number}", mode=KEYWORD) == []

    assert indexer.asked == [other.tenant_id]


async def test_searches_go_on_without_the_indexer(
    search: Search, indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_search.tuning.BELIEVED_SECONDS", 0.0)
    await search.store("a laptop")
    await indexer.set(search, synonyms=[["notebook", "laptop"]])
    await found(search, "notebook", bool)

    indexer.broken = True
    indexer.asked.clear()
    async with asyncio.timeout(10):
        while not indexer.asked:
            assert await search.texts("notebook", mode=KEYWORD) == ["a laptop"]
    assert await search.texts("notebook", mode=KEYWORD) == ["a laptop"]

    stranger = Search(search.rpc, search.index, search.embedder, UUID(int=search.tenant_id.int ^ 2))
    await stranger.store("a laptop")
    assert await stranger.texts("laptop", mode=KEYWORD) == ["a laptop"]
