"""The vector index over a real Qdrant: what is stored, changed, shown and found, and for whom."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from qdrant_client import models

from quarry_common.contracts.filters import And, AnyOf, Exists, Field
from quarry_common.embedding import bm25
from quarry_common.errors import DeadlineExceededError, QuarryError, UnavailableError
from quarry_common.settings import QdrantSettings, load
from quarry_common.vectors.connection import Qdrant, connect
from quarry_common.vectors.errors import EmbedderMismatchError, VectorIndexError
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.fusion import FusionWeights
from quarry_common.vectors.index import POINTS_PER_REQUEST, VectorIndex
from quarry_common.vectors.points import ChunkPoint, DocumentChange
from quarry_common.vectors.queries import Candidate, Legs
from quarry_common.vectors.reads import Reads
from quarry_common.vectors.schema import PAYLOAD_INDEXES

Add = Callable[..., Awaitable[ChunkPoint]]
Make = Callable[..., ChunkPoint]

NEAR = Legs(dense=[1.0, 0.0, 0.0, 0.0])


def keyword(text: str) -> Legs:
    return Legs(sparse=bm25.encode_query(text))


async def ranked(index: VectorIndex, scope: Scope, legs: Legs, **options: Any) -> list[Candidate]:
    return (await index.search(scope, legs, **options)).candidates


async def found(index: VectorIndex, scope: Scope, legs: Legs = NEAR) -> set[UUID]:
    return {UUID(candidate.chunk_id) for candidate in await ranked(index, scope, legs, depth=50)}


class TestCollection:
    async def test_is_created_once_with_its_vectors_and_indexes(
        self, qdrant: Qdrant, index: VectorIndex
    ) -> None:
        await index.ensure()

        info = await qdrant.client.get_collection(index.collection)
        assert info.config.hnsw_config.m == 0
        assert info.config.hnsw_config.payload_m == 16
        assert set(info.payload_schema) == set(PAYLOAD_INDEXES)
        tenant = info.payload_schema["tenant_id"]
        assert isinstance(tenant.params, models.UuidIndexParams)
        assert tenant.params.is_tenant is True

    async def test_takes_over_settings_of_graphs_that_have_changed(
        self, qdrant: Qdrant, settings: QdrantSettings
    ) -> None:
        for m, beam in ((16, 200), (24, 400)):
            chosen = settings.model_copy(update={"hnsw_m": m, "hnsw_ef_construct": beam})
            made = VectorIndex(qdrant, chosen, embedder_id="graphs@changed", dimensions=4)
            await made.ensure()

            graphs = (await qdrant.client.get_collection(made.collection)).config.hnsw_config
            assert (graphs.m, graphs.payload_m, graphs.ef_construct) == (0, m, beam)
        await qdrant.client.delete_collection(made.collection)

    async def test_of_other_dimensions_is_refused(
        self, qdrant: Qdrant, settings: QdrantSettings, index: VectorIndex
    ) -> None:
        other = VectorIndex(qdrant, settings, embedder_id="four@dimensions", dimensions=8)

        for attempt in (other.ensure, other.check):
            with pytest.raises(EmbedderMismatchError, match="4 dimensions; the embedder makes 8"):
                await attempt()

    async def test_that_does_not_exist_makes_the_check_fail(
        self, qdrant: Qdrant, settings: QdrantSettings
    ) -> None:
        missing = VectorIndex(qdrant, settings, embedder_id="never/made", dimensions=4)

        with pytest.raises(EmbedderMismatchError, match="no collection chunks_never_made") as raised:
            await missing.check()
        assert "quarry migrate" in raised.value.data.advice

    async def test_that_fits_passes_the_check(self, index: VectorIndex) -> None:
        await index.check()


class TestVersions:
    async def test_a_new_version_is_found_only_once_it_is_activated(
        self, index: VectorIndex, chunk: Make, tenant: UUID
    ) -> None:
        made = chunk()
        await index.upsert_inactive([made])
        before = await found(index, Scope(tenant))

        await index.activate(tenant, [(made.document_id, 1)])

        assert before == set()
        assert await found(index, Scope(tenant)) == {made.id}

    async def test_versions_of_several_documents_are_activated_at_once(
        self, index: VectorIndex, chunk: Make, tenant: UUID
    ) -> None:
        made = [chunk(), chunk(), chunk()]
        await index.upsert_inactive(made)

        await index.activate(tenant, [(each.document_id, 1) for each in made[:2]])

        assert await found(index, Scope(tenant)) == {each.id for each in made[:2]}

    async def test_the_places_of_a_tenants_points_can_be_read(
        self, index: VectorIndex, add: Add, chunk: Make, tenant: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("quarry_common.vectors.index.PLACES_PER_REQUEST", 2)
        made = [await add() for _ in range(4)]
        hidden = chunk(version=7)
        await index.upsert_inactive([hidden])
        await index.upsert_inactive([chunk(tenant_id=uuid4())])

        places = [place async for page in index.places(tenant) for place in page]

        wanted = {(each.document_id, 1, True) for each in made} | {(hidden.document_id, 7, False)}
        assert {(place.document_id, place.version, place.active) for place in places} == wanted
        assert len(places) == 5

    async def test_versions_below_are_deleted_and_the_rest_stays(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        document = uuid4()
        kept = [await add(document_id=document, version=version) for version in (1, 2, 3)][1:]

        await index.delete_below(tenant, document, 2)

        assert await found(index, Scope(tenant)) == {made.id for made in kept}

    async def test_one_version_or_all_are_deleted(self, index: VectorIndex, add: Add, tenant: UUID) -> None:
        document = uuid4()
        for version in (1, 2, 3):
            await add(document_id=document, version=version)

        await index.delete_versions(tenant, [(document, 2)])
        after_one = [await index.count(tenant, document, version) for version in (1, 2, 3)]
        await index.delete_versions(tenant, [(document, 1), (document, 3)])

        assert after_one == [1, 0, 1]
        assert await index.count(tenant, document) == 0

    async def test_many_points_go_in_parts_and_again_replace_themselves(
        self, index: VectorIndex, chunk: Make, tenant: UUID
    ) -> None:
        document = uuid4()
        many = [chunk(document_id=document, ordinal=n) for n in range(POINTS_PER_REQUEST * 2 + 1)]

        await index.upsert_inactive(many)
        await index.upsert_inactive(many[:5])

        assert await index.count(tenant, document, 1, active=False) == len(many)

    async def test_a_logical_collection_is_deleted_alone(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        await add(collection="old")
        stays = await add(collection="new")

        await index.delete_collection(tenant, "old")

        assert await found(index, Scope(tenant)) == {stays.id}


class TestTenants:
    async def test_nothing_of_another_tenant_is_found_counted_fetched_changed_or_deleted(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        mine = await add(collection="shared")
        other = uuid4()

        await index.activate(other, [(mine.document_id, 1)])
        await index.delete_versions(other, [(mine.document_id, 1)])
        await index.delete_collection(other, "shared")

        assert await found(index, Scope(other)) == set()
        assert await index.count(other, mine.document_id) == 0
        assert await index.fetch(Scope(other), [str(mine.id)]) == {}
        assert await found(index, Scope(tenant)) == {mine.id}

    async def test_keyword_scores_do_not_change_when_another_tenant_imports_much(
        self, index: VectorIndex, add: Add, chunk: Make, tenant: UUID
    ) -> None:
        for text in ("the turbine failed", "the pump works", "the valve works"):
            await add(text=text)
        before = await ranked(index, Scope(tenant), keyword("turbine works"), depth=10)

        other = uuid4()
        document = uuid4()
        bulk = [
            chunk(tenant_id=other, document_id=document, ordinal=n, text=f"the turbine number {n} works")
            for n in range(500)
        ]
        await index.upsert_inactive(bulk)
        await index.activate(other, [(document, 1)])

        assert len(before) == 3
        assert await ranked(index, Scope(tenant), keyword("turbine works"), depth=10) == before

    async def test_another_collection_does_not_change_keyword_scores_within_one(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        for text in ("the turbine failed", "the pump works", "the valve works"):
            await add(text=text, collection="plant")
        within = Scope(tenant, filters=AnyOf(Field.COLLECTION, ("plant",)))
        also = And((AnyOf(Field.COLLECTION, ("plant",)), Exists(Field.DOC_TYPE)))
        before = await ranked(index, within, keyword("turbine works"), depth=10)

        for n in range(20):
            await add(text=f"the turbine number {n}", collection="museum")

        assert await ranked(index, within, keyword("turbine works"), depth=10) == before
        narrowed = await ranked(index, Scope(tenant, filters=also), keyword("turbine works"), depth=10)
        assert {found.score for found in narrowed} <= {found.score for found in before}
        everywhere = await ranked(index, Scope(tenant), keyword("works"), depth=10)
        assert everywhere[0].score != (await ranked(index, within, keyword("works"), depth=10))[0].score


class TestPrincipals:
    async def test_restricted_documents_are_found_by_their_principals_only(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        public = await add()
        team = await add(allowed_principals=["team:a", "user:1"])
        nobody = await add(allowed_principals=[])

        assert await found(index, Scope(tenant)) == {public.id}
        assert await found(index, Scope(tenant, frozenset({"user:2"}))) == {public.id}
        assert await found(index, Scope(tenant, frozenset({"user:1"}))) == {public.id, team.id}
        assert await index.fetch(Scope(tenant), [str(team.id), str(nobody.id)]) == {}


class TestSearch:
    async def test_the_passage_holds_what_was_stored(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        metadata = {
            'a "quoted" name': 1,
            "dotted.name[0]": [1, None, "x"],
            "100%22": 2.5,
            "": True,
            "n": None,
        }
        made = await add(
            metadata=metadata, tags=["x", "y"], external_id="e-1", source_url="https://a.example/"
        )

        passages = await index.fetch(Scope(tenant), [str(made.id), str(uuid4())])

        assert list(passages) == [str(made.id)]
        passage = passages[str(made.id)]
        for name in passage.__struct_fields__:
            assert getattr(passage, name) == getattr(made, name), name

    async def test_a_changed_payload_is_seen_by_filters_and_readers(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        made = await add(metadata={"old": 1}, tags=["old"], allowed_principals=["user:1"])
        change = DocumentChange(
            doc_type="note",
            tags=["new"],
            metadata={"new": 2},
            source_url=None,
            allowed_principals=None,
            updated_at=made.updated_at + timedelta(days=1),
        )

        await index.update_payload(tenant, (made.document_id, 1), change)

        passage = (await index.fetch(Scope(tenant), [str(made.id)]))[str(made.id)]
        assert (passage.doc_type, passage.tags, passage.metadata) == ("note", ["new"], {"new": 2})

    async def test_a_fused_ranking_tells_what_each_leg_found(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        near = await add(text="about pumps", dense=[0.9, 0.1, 0.0, 0.0])
        named = await add(text="the turbine", dense=[0.0, 1.0, 0.0, 0.0])

        legs = Legs([1.0, 0.0, 0.0, 0.0], bm25.encode_query("turbine"))
        found = await index.search(Scope(tenant), legs, depth=1)

        assert [candidate.chunk_id for candidate in found.dense] == [str(near.id)]
        assert [candidate.chunk_id for candidate in found.sparse] == [str(named.id)]
        assert len(found.candidates) == 2

    async def test_entries_of_payloads_can_be_read_by_themselves(
        self, index: VectorIndex, add: Add, tenant: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("quarry_common.vectors.index.PLACES_PER_REQUEST", 2)
        made = [await add(tags=[f"t{n}"], metadata={'a "b"': n}) for n in range(3)]
        ids = [str(each.id) for each in made]

        known = await index.attributes(Scope(tenant), ids, ["tags", "metadata"])

        assert known == {str(each.id): {"tags": each.tags, "metadata": each.metadata} for each in made}
        assert await index.attributes(Scope(uuid4()), ids, ["tags"]) == {}

    async def test_each_leg_ranks_by_its_own_score(self, index: VectorIndex, add: Add, tenant: UUID) -> None:
        close = await add(text="about pumps", dense=[0.9, 0.1, 0.0, 0.0])
        named = await add(text="the turbine", dense=[0.0, 1.0, 0.0, 0.0])

        semantic = await ranked(index, Scope(tenant), NEAR, depth=10)
        lexical = await ranked(index, Scope(tenant), keyword("turbine"), depth=10)

        assert [candidate.chunk_id for candidate in semantic] == [str(close.id), str(named.id)]
        assert [candidate.chunk_id for candidate in lexical] == [str(named.id)]
        assert semantic[0].score == pytest.approx(0.9939, abs=1e-3)

    async def test_both_legs_are_fused(self, index: VectorIndex, add: Add, tenant: UUID) -> None:
        both = await add(text="the turbine", dense=[0.9, 0.1, 0.0, 0.0])
        dense_only = await add(text="about pumps", dense=[0.8, 0.4, 0.0, 0.0])
        await add(text="nothing alike", dense=[0.0, 0.0, 1.0, 0.0])

        legs = Legs([1.0, 0.0, 0.0, 0.0], bm25.encode_query("turbine"))
        listed = await ranked(index, Scope(tenant), legs, depth=10)

        assert [candidate.chunk_id for candidate in listed[:2]] == [str(both.id), str(dense_only.id)]
        assert listed[0].score == pytest.approx(1.0)

    async def test_where_many_are_alike_the_best_teach_what_is_asked(
        self, index: VectorIndex, add: Add, tenant: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        best = [await add(text="the turbine", dense=[0.9, 0.4, 0.0, 0.0]) for _ in range(8)]
        other = await add(text="the pump", dense=[0.9, 0.0, 0.4, 0.0])
        like = await add(text="the pump", dense=[0.89, 0.42, 0.0, 0.0])
        legs = Legs([1.0, 0.0, 0.0, 0.0], bm25.encode_query("turbine"), FusionWeights(0.8, 0.2))

        learnt = await ranked(index, Scope(tenant), legs, depth=20)
        monkeypatch.setattr("quarry_common.vectors.feedback.helps", lambda *_: False)
        plain = await ranked(index, Scope(tenant), legs, depth=20)

        ids = {str(each.id) for each in best}
        assert {candidate.chunk_id for candidate in learnt[:8]} == ids
        assert [candidate.chunk_id for candidate in learnt[8:]] == [str(like.id), str(other.id)]
        assert [candidate.chunk_id for candidate in plain[8:]] == [str(other.id), str(like.id)]
        assert all(0 <= candidate.score <= 1 for candidate in learnt)
        assert learnt == sorted(learnt, key=lambda candidate: (-candidate.score, candidate.chunk_id))

    async def test_what_taught_comes_with_the_ranking(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        made = [await add(text="the turbine", metadata={'a "b"': n}) for n in range(12)]
        legs = Legs([1.0, 0.0, 0.0, 0.0], bm25.encode_query("turbine"))

        listed = await index.search(Scope(tenant), legs, depth=20)

        ids = [str(each.id) for each in made]
        assert set(listed.passages) == set(ids)
        assert listed.passages == await index.fetch(Scope(tenant), ids)

    async def test_points_without_codes_are_ranked_by_the_legs(
        self, index: VectorIndex, qdrant: Qdrant, add: Add, tenant: UUID
    ) -> None:
        made = [await add(text="the turbine", dense=[0.9, 0.1 * n, 0.0, 0.0]) for n in range(12)]
        ids = [str(each.id) for each in made]
        await qdrant.client.delete_payload(index.collection, ["dense_code"], points=ids, wait=True)
        legs = Legs([1.0, 0.0, 0.0, 0.0], bm25.encode_query("turbine"))

        assert [found.chunk_id for found in await ranked(index, Scope(tenant), legs, depth=20)] == ids

    async def test_what_goes_meanwhile_teaches_nothing(
        self, index: VectorIndex, add: Add, tenant: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def gone(*_: object) -> list[object]:
            return []

        monkeypatch.setattr(Reads, "passages", gone)
        ids = sorted([str((await add(text="the turbine")).id) for _ in range(12)])

        listed = await ranked(index, Scope(tenant), Legs(NEAR.dense, bm25.encode_query("turbine")), depth=20)

        assert [candidate.chunk_id for candidate in listed] == ids

    async def test_equal_scores_are_in_the_order_of_their_ids(
        self, index: VectorIndex, chunk: Make, tenant: UUID
    ) -> None:
        document = uuid4()
        await index.upsert_inactive([chunk(document_id=document, ordinal=n) for n in range(20)])
        await index.activate(tenant, [(document, 1)])

        listed = [candidate.chunk_id for candidate in await ranked(index, Scope(tenant), NEAR, depth=20)]

        assert len(listed) == 20
        assert listed == sorted(listed)

    async def test_candidates_tell_their_document_when_asked(
        self, index: VectorIndex, add: Add, tenant: UUID
    ) -> None:
        made = await add(version=3)

        (plain,) = await ranked(index, Scope(tenant), NEAR, depth=10)
        (told,) = await ranked(index, Scope(tenant), NEAR, depth=10, documents=True)

        assert (plain.document_id, plain.version) == ("", 0)
        assert (told.document_id, told.version) == (str(made.document_id), 3)

    async def test_no_legs_find_nothing(self, index: VectorIndex, add: Add, tenant: UUID) -> None:
        await add()

        assert await ranked(index, Scope(tenant), keyword("?!"), depth=10) == []


class TestFailures:
    async def test_a_server_that_is_not_there_is_unavailable(self) -> None:
        settings = load(QdrantSettings, {"QDRANT_URL": "http://127.0.0.1:9"})
        async with connect(settings) as qdrant:
            index = VectorIndex(qdrant, settings, embedder_id="x", dimensions=4)

            with pytest.raises(UnavailableError, match="cannot be reached"):
                await ranked(index, Scope(uuid4()), NEAR, depth=10)

    async def test_a_server_that_does_not_answer_ends_at_the_deadline(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr("quarry_common.vectors.index.READ_SECONDS", 0.2)
        try:
            settings = load(QdrantSettings, {"QDRANT_URL": f"http://127.0.0.1:{port}"})
            async with connect(settings) as qdrant:
                index = VectorIndex(qdrant, settings, embedder_id="x", dimensions=4)
                for attempt in (index.check(), ranked(index, Scope(uuid4()), NEAR, depth=10)):
                    with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
                        await attempt
        finally:
            for writer in held:
                writer.close()
            server.close()
            await server.wait_closed()

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            pytest.param(b"HTTP/1.1 503 X\r\ncontent-length: 4\r\n\r\nbusy", UnavailableError, id="503"),
            pytest.param(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", EmbedderMismatchError, id="404"),
            pytest.param(b"HTTP/1.1 400 X\r\ncontent-length: 3\r\n\r\nbad", VectorIndexError, id="400"),
            pytest.param(
                b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}", VectorIndexError, id="another form"
            ),
            pytest.param(b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{}", UnavailableError, id="cut off"),
            pytest.param(b"", UnavailableError, id="closed"),
        ],
    )
    async def test_whatever_a_search_is_answered_is_an_error_of_ours(
        self, answer: bytes, error: type[QuarryError]
    ) -> None:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = load(QdrantSettings, {"QDRANT_URL": f"http://127.0.0.1:{port}"})
            async with connect(settings) as qdrant:
                index = VectorIndex(qdrant, settings, embedder_id="x", dimensions=4)
                with pytest.raises(error):
                    await ranked(index, Scope(uuid4()), NEAR, depth=10)

    async def test_a_connection_that_was_closed_while_idle_is_replaced(self) -> None:
        """The server answers once on each connection, as if it closed those that are idle."""
        asked = 0

        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            body = b'{"result":{"points":[]}}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            settings = load(QdrantSettings, {"QDRANT_URL": f"http://127.0.0.1:{port}"})
            async with connect(settings) as qdrant:
                index = VectorIndex(qdrant, settings, embedder_id="x", dimensions=4)
                for _ in range(3):
                    assert await ranked(index, Scope(uuid4()), NEAR, depth=10) == []
        assert asked == 3
