"""Settings of a collection: kept, merged, told of, and followed by what is indexed from then on."""

from itertools import pairwise

import pytest
from nats.aio.msg import Msg

from quarry_common.cache.generations import CONTENT_EVENTS
from quarry_common.contracts import collections as contract
from quarry_common.contracts.collections import (
    AllSettings,
    Collection,
    CollectionRef,
    CollectionSettings,
    CreateCollection,
    Language,
    ListCollections,
    ListSettings,
    SettingsPatch,
    UpdateCollection,
)
from quarry_common.contracts.documents import LIST_CHUNKS, REINDEX, Chunk, ListChunks, Reindex
from quarry_common.embedding import bm25
from quarry_common.errors import RemoteError
from quarry_common.messaging.broker import connect
from quarry_common.settings import NatsSettings
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.queries import Legs
from quarry_indexer.handlers import collections as handlers

from .conftest import Embedded, Indexer, until

TEXT = " ".join(f"word{number}" for number in range(300)).encode()


@pytest.fixture
def tenant(indexer: Indexer) -> Indexer:
    return indexer.of_another_tenant()


async def create(tenant: Indexer, name: str, key: str | None = None, **settings: object) -> Collection:
    request = CreateCollection(tenant.tenant_id, name, key, CollectionSettings(**settings))  # type: ignore[arg-type]
    return await tenant.rpc.call(contract.CREATE_COLLECTION, request)


async def update(tenant: Indexer, name: str, **settings: object) -> Collection:
    request = UpdateCollection(tenant.tenant_id, name, SettingsPatch(**settings))  # type: ignore[arg-type]
    return await tenant.rpc.call(contract.UPDATE_COLLECTION, request)


async def get(tenant: Indexer, name: str = "default") -> Collection:
    return await tenant.rpc.call(contract.GET_COLLECTION, CollectionRef(tenant.tenant_id, name))


async def all_settings(tenant: Indexer, after: str = "") -> AllSettings:
    return await tenant.rpc.call(contract.SETTINGS, ListSettings(tenant.tenant_id, after))


async def reindex(tenant: Indexer) -> None:
    """Index everything again, and wait until it is found."""
    before = (await get(tenant)).outdated_documents
    done = await tenant.rpc.call(REINDEX, Reindex(tenant.tenant_id, collection="default"))
    assert done.jobs >= before

    async def up_to_date() -> bool:
        return (await get(tenant)).outdated_documents == 0

    await until(up_to_date)


async def chunks(tenant: Indexer, external_id: str) -> list[Chunk]:
    request = ListChunks(tenant.tenant_id, collection="default", external_id=external_id)
    return (await tenant.rpc.call(LIST_CHUNKS, request)).chunks


async def hits(tenant: Indexer, query: str) -> int:
    legs = Legs(sparse=bm25.encode_query(query))
    return len((await tenant.index.search(Scope(tenant.tenant_id), legs, depth=10)).candidates)


async def test_settings_are_kept_and_shown(tenant: Indexer) -> None:
    settings = {
        "language": Language.GERMAN, "chunk_tokens": 64, "chunk_overlap": 0, "title_boost": 2.5,
        "stop_words": ["bitte"], "synonyms": [["pc", "computer"]], "dense_weight": 0.0,
    }  # fmt: skip

    made = await create(tenant, "manuals", **settings)

    assert made.settings == CollectionSettings(**settings)  # type: ignore[arg-type]
    assert await get(tenant, "manuals") == made
    page = await tenant.rpc.call(contract.LIST_COLLECTIONS, ListCollections(tenant.tenant_id))
    assert {each.name: each.settings for each in page.collections} == {
        "default": CollectionSettings(), "manuals": made.settings,
    }  # fmt: skip


async def test_a_repeated_creation_answers_the_same_and_other_settings_are_another_request(
    tenant: Indexer,
) -> None:
    made = await create(tenant, "manuals", key="once", title_boost=2.0)

    assert await create(tenant, "manuals", key="once", title_boost=2.0) == made
    with pytest.raises(RemoteError) as refused:
        await create(tenant, "manuals", key="once", title_boost=3.0)
    assert refused.value.data.code == "idempotency_key_reused"


async def test_a_change_is_merged_into_what_is_there(tenant: Indexer) -> None:
    await create(tenant, "manuals", language=Language.GERMAN, chunk_tokens=64, stop_words=["bitte"])

    changed = await update(tenant, "manuals", language=None, stop_words=["danke"], dense_weight=0.4)

    expected = CollectionSettings(chunk_tokens=64, stop_words=["danke"], dense_weight=0.4)
    assert changed.settings == (await get(tenant, "manuals")).settings == expected


async def test_the_default_collection_has_settings_before_it_has_documents(tenant: Indexer) -> None:
    assert (await update(tenant, "default", title_boost=2.0)).settings.title_boost == 2.0


async def test_settings_that_contradict_what_stays_are_refused_and_change_nothing(tenant: Indexer) -> None:
    made = await create(tenant, "manuals", chunk_tokens=100, chunk_overlap=40)

    with pytest.raises(RemoteError) as refused:
        await update(tenant, "manuals", chunk_tokens=80, title_boost=2.0)
    with pytest.raises(RemoteError) as too_large:
        await create(tenant, "large", chunk_tokens=255)

    assert [error.field for error in refused.value.data.errors] == ["settings.chunk_overlap"]
    assert [error.field for error in too_large.value.data.errors] == ["settings.chunk_tokens"]
    assert (await get(tenant, "manuals")).settings == made.settings


async def test_who_caches_has_heard_of_a_change_when_the_answer_comes_and_of_none_when_nothing_changed(
    tenant: Indexer, nats_url: str
) -> None:
    heard: list[str] = []

    async def note(message: Msg) -> None:
        heard.append(message.subject)

    async with connect(NatsSettings(nats_url=nats_url), "listener") as connection:
        for subject in CONTENT_EVENTS:
            await connection.subscribe(subject.replace("*", str(tenant.tenant_id), 1), cb=note)
        await connection.flush(timeout=5)

        async def heard_of(changed: Collection) -> int:
            await connection.flush(timeout=5)
            return len(heard)

        assert await heard_of(await create(tenant, "plain")) == 0
        assert await heard_of(await create(tenant, "manuals", title_boost=2.0)) == 1
        assert await heard_of(await update(tenant, "manuals", stop_words=["please"])) == 2
        assert await heard_of(await update(tenant, "manuals", stop_words=["please"])) == 2

    assert set(heard) == {f"evt.v1.{tenant.tenant_id}.collection.updated"}


async def test_documents_are_cut_as_their_collection_says(tenant: Indexer) -> None:
    await tenant.searchable(TEXT, external_id="before")
    await update(tenant, "default", chunk_tokens=64, chunk_overlap=0)

    await tenant.searchable(TEXT, external_id="after")

    before, after = await chunks(tenant, "before"), await chunks(tenant, "after")
    assert max(chunk.token_count for chunk in before) > 150
    assert 48 < max(chunk.token_count for chunk in after) <= 64
    assert all(one.char_end < next_one.char_start for one, next_one in pairwise(after))
    assert any(one.char_end > next_one.char_start for one, next_one in pairwise(before))


async def test_a_document_of_a_title_alone_is_cut_as_its_collection_says(tenant: Indexer) -> None:
    await update(tenant, "default", chunk_tokens=32)

    await tenant.searchable(None, title="word " * 100, external_id="title")

    assert len(await chunks(tenant, "title")) > 3


async def test_documents_are_outdated_until_they_are_indexed_again(tenant: Indexer) -> None:
    await tenant.searchable(TEXT, external_id="a")
    await tenant.searchable(b"short", external_id="b")

    changed = await update(tenant, "default", chunk_tokens=64)
    fresh = await tenant.searchable(b"new", external_id="c")

    assert (changed.outdated_documents, fresh.unchanged) == (2, False)
    assert (await get(tenant)).outdated_documents == 2
    await reindex(tenant)
    assert all(chunk.token_count <= 64 for chunk in await chunks(tenant, "a"))
    count = await tenant.index.count(tenant.tenant_id, active=True)
    assert count == (await get(tenant)).chunk_count


async def test_settings_of_searches_and_those_that_come_back_outdate_nothing(tenant: Indexer) -> None:
    await tenant.searchable(TEXT)

    searched = await update(
        tenant, "default", language=Language.GERMAN, stop_words=["a"], synonyms=[["a", "b"]], dense_weight=0.5
    )
    boosted = await update(tenant, "default", title_boost=2.0)
    back = await update(tenant, "default", title_boost=None)

    outdated = [each.outdated_documents for each in (searched, boosted, back)]
    assert outdated == [0, 1, 0]


async def test_the_same_upload_is_no_change_whatever_the_settings_are_by_then(tenant: Indexer) -> None:
    first = await tenant.searchable(TEXT, external_id="a", upsert=True)
    await update(tenant, "default", chunk_tokens=64, title_boost=3.0)

    again = await tenant.put(TEXT, external_id="a", upsert=True)

    assert (again.unchanged, again.version, again.job_id) == (True, first.version, first.job_id)
    assert (await get(tenant)).outdated_documents == 1


async def test_a_title_weighs_what_the_collection_says_and_weighing_it_anew_embeds_nothing(
    tenant: Indexer, embedded: Embedded
) -> None:
    await tenant.searchable(b"Helmets are worn below the crane.", title="Quarries", external_id="a")
    assert (await hits(tenant, "quarries"), await hits(tenant, "helmets")) == (1, 1)
    known = embedded.of("Helmets")

    await update(tenant, "default", title_boost=0.0)
    await reindex(tenant)

    async def only_by_its_text() -> bool:
        return (await hits(tenant, "quarries"), await hits(tenant, "helmets")) == (0, 1)

    await until(only_by_its_text)
    assert known
    assert embedded.of("Helmets") == known


async def test_searches_read_the_settings_that_are_not_the_default_ones_in_parts(
    tenant: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(tenant, "plain")
    names = ["a_1", "a-2", "b"]
    for number, name in enumerate(names, start=2):
        await create(tenant, name, title_boost=float(number))
    await update(tenant, "default", stop_words=["x"])
    await update(tenant, "default", stop_words=None)

    whole = await all_settings(tenant)
    monkeypatch.setattr(handlers, "SETTINGS_AT_ONCE", 2)
    first = await all_settings(tenant)
    rest = await all_settings(tenant, first.after or "")

    assert {name: each.title_boost for name, each in whole.settings.items()} == {
        "a_1": 2.0, "a-2": 3.0, "b": 4.0,
    }  # fmt: skip
    assert whole.after is rest.after is None
    assert (len(first.settings), first.settings | rest.settings) == (2, whole.settings)


async def test_searches_are_told_of_documents_under_the_default_settings(tenant: Indexer) -> None:
    await create(tenant, "manuals", title_boost=2.0)
    await create(tenant, "plain")
    await tenant.put(b"text", collection="manuals")
    assert not (await all_settings(tenant)).others

    await tenant.put(b"text", collection="plain")

    assert (await all_settings(tenant)).others
    assert not (await all_settings(tenant.of_another_tenant())).others


async def test_another_tenant_neither_sees_nor_changes_settings(tenant: Indexer) -> None:
    await create(tenant, "manuals", title_boost=2.0)
    stranger = tenant.of_another_tenant()

    with pytest.raises(RemoteError) as refused:
        await update(stranger, "manuals", title_boost=5.0)
    theirs = await create(stranger, "manuals", title_boost=7.0)

    assert refused.value.data.status == 404
    assert (await get(tenant, "manuals")).settings.title_boost == 2.0
    assert (await all_settings(stranger)).settings == {"manuals": theirs.settings}
    assert set((await all_settings(tenant)).settings) == {"manuals"}
