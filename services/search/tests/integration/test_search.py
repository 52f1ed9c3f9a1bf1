import asyncio
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from quarry_common.contracts.filters import parse
from quarry_common.contracts.search import SearchMode
from quarry_common.errors import RemoteError
from quarry_common.settings import load
from quarry_common.vectors.errors import EmbedderMismatchError
from quarry_search.service import build
from quarry_search.settings import SearchSettings

if TYPE_CHECKING:
    from .conftest import Search

HYBRID, SEMANTIC, KEYWORD = SearchMode.HYBRID, SearchMode.SEMANTIC, SearchMode.KEYWORD


class TestModes:
    @pytest.mark.parametrize(
        ("query", "begins"),
        [
            ("why did the pump fail", "The centrifugal pump"),
            ("how much holiday do workers get", "Employees may take"),
            ("ERR-1042", "Error ERR-1042"),
            ("Kündigungsfrist Mietvertrag", "Die Kündigungsfrist"),
            ("Wie lange ist die Kündigungsfrist?", "Die Kündigungsfrist"),
            ("Versicherung Hagelschaden", "Die Versicherungen"),
            ("भारत की राजधानी", "दिल्ली"),
            ("गेहूँ फसल", "किसानों"),
            ("日本の首都", "東京都"),
            ("เมืองหลวง", "กรุงเทพ"),
        ],
    )
    async def test_hybrid_finds_by_meaning_and_by_words(
        self, library: "Search", query: str, begins: str
    ) -> None:
        found = await library.texts(query)

        assert found[0].startswith(begins)

    async def test_semantic_finds_what_shares_no_word(self, library: "Search") -> None:
        found = await library.texts("vacation entitlement of staff", mode=SEMANTIC)

        assert found[0].startswith("Employees may take")
        assert await library.texts("vacation entitlement of staff", mode=KEYWORD) == []

    async def test_keyword_finds_only_what_shares_a_word(self, library: "Search") -> None:
        answer = await library.ask("read_config appeal", mode=KEYWORD)

        assert {result.text.split()[0] for result in answer.results} == {"Error", "The"}
        assert answer.total == 2
        assert answer.mode is KEYWORD

    async def test_a_keyword_search_without_terms_finds_nothing(self, library: "Search") -> None:
        answer = await library.ask("?!…", mode=KEYWORD)

        assert (answer.total, answer.results, answer.next_cursor) == (0, [], None)

    async def test_scores_fall_and_each_mode_times_its_stages(self, library: "Search") -> None:
        stages = {}
        for mode in SearchMode:
            answer = await library.ask("the pump", mode=mode)
            scores = [result.score for result in answer.results]
            assert scores == sorted(scores, reverse=True)
            assert all(value >= 0 for value in answer.timings_ms.values())
            stages[mode] = set(answer.timings_ms)

        assert stages[HYBRID] == stages[SEMANTIC] == {"embed", "index", "fetch", "total"}
        assert stages[KEYWORD] == {"index", "fetch", "total"}

    async def test_a_very_long_query_is_answered(self, library: "Search") -> None:
        assert (await library.texts("pump " * 1600))[0].startswith("The centrifugal pump")


class TestAnswer:
    async def test_a_result_cites_its_passage(self, search: "Search") -> None:
        (chunk,) = await search.store(
            "The turbine turns.",
            title="Manual",
            heading_path=["Two", "Three"],
            page=7,
            char_start=100,
            doc_type="pdf",
            tags=["a"],
            metadata={"year": 2026, "odd.name": [1, None]},
            external_id="e-1",
            source_url="https://a.example/m",
            collection="manuals",
        )

        answer = await search.ask("turbine", highlight=True)

        assert answer.query_id.version == 7
        assert answer.query == "turbine"
        (result,) = answer.results
        assert result.chunk_id == chunk.id
        assert result.highlights == ["The <mark>turbine</mark> turns."]
        for name in set(chunk.__struct_fields__) & set(result.__struct_fields__):
            assert getattr(result, name) == getattr(chunk, name), name

    async def test_without_highlight_there_are_no_excerpts(self, library: "Search") -> None:
        assert all(result.highlights == [] for result in (await library.ask("pump")).results)

    async def test_filters_narrow_what_is_found(self, search: "Search") -> None:
        await search.store("The old turbine.", metadata={"year": 1999})
        await search.store("The new turbine.", metadata={"year": 2026})

        for mode in SearchMode:
            found = await search.texts(
                "turbine", mode=mode, filters=parse({"metadata": {"year": {"gte": 2000}}})
            )
            assert found == ["The new turbine."]

    async def test_grouped_each_document_shows_its_best_passage(self, search: "Search") -> None:
        await search.store("turbine turbine", "the turbine of a mill", "a mill", document_id=uuid4())
        await search.store("one turbine among many other things that are told of here")

        found = await search.ask("turbine", group_by_document=True, mode=KEYWORD)

        assert [result.text.split()[0] for result in found.results] == ["turbine", "one"]
        assert found.total == 2


class TestPaging:
    async def stored(self, search: "Search", many: int) -> None:
        texts = [f"The turbine number {number} " + "hums " * (number % 7) for number in range(many)]
        for start in range(0, many, 100):
            await search.store(*texts[start : start + 100], document_id=uuid4())

    async def pages(self, search: "Search", limit: int, **options: object) -> list[list[UUID]]:
        pages, cursor = [], None
        while True:
            answer = await search.ask("turbine hums", limit=limit, cursor=cursor, **options)
            pages.append([result.chunk_id for result in answer.results])
            cursor = answer.next_cursor
            if cursor is None:
                assert sum(map(len, pages)) == answer.total
                return pages

    @pytest.mark.parametrize("mode", list(SearchMode))
    async def test_pages_hold_every_passage_once_in_the_order_of_one_list(
        self, search: "Search", mode: SearchMode
    ) -> None:
        await self.stored(search, 45)

        small = await self.pages(search, 7, mode=mode)
        (large,) = await self.pages(search, 100, mode=mode)

        assert [len(page) for page in small] == [7] * 6 + [3]
        assert [chunk for page in small for chunk in page] == large
        assert len(set(large)) == 45

    async def test_the_reach_is_bounded_and_said(self, search: "Search") -> None:
        await self.stored(search, 300)

        answer = await search.ask("turbine", mode=KEYWORD, limit=5)

        assert answer.total == 200

    async def test_grouped_pages_count_documents(self, search: "Search") -> None:
        for _ in range(5):
            await search.store("the turbine hums", "another turbine", document_id=uuid4())

        pages = await self.pages(search, 2, group_by_document=True)

        assert [len(page) for page in pages] == [2, 2, 1]

    async def test_a_cursor_of_another_query_is_refused(self, search: "Search") -> None:
        await self.stored(search, 15)
        cursor = (await search.ask("turbine")).next_cursor

        with pytest.raises(RemoteError) as raised:
            await search.ask("hums", cursor=cursor)

        assert raised.value.data.status == 422
        assert raised.value.data.errors[0].field == "cursor"


class TestVisibility:
    async def test_a_document_is_never_shown_in_two_versions(self, search: "Search") -> None:
        document = uuid4()
        await search.store("The turbine, first edition", document_id=document, version=1)
        await search.store("The turbine, second edition", document_id=document, version=2, active=False)
        before = await search.texts("turbine edition")

        await search.index.activate(search.tenant_id, [(document, 2)])

        assert before == ["The turbine, first edition"]
        for mode in SearchMode:
            assert await search.texts("turbine edition", mode=mode) == ["The turbine, second edition"]

    async def test_a_deleted_document_is_gone_from_the_next_search(self, search: "Search") -> None:
        gone, _ = await search.store("The turbine stops", "The turbine stays")
        await search.index.delete_versions(search.tenant_id, [(gone.document_id, 1)])

        assert await search.texts("turbine") == ["The turbine stays"]

    async def test_another_tenants_documents_are_not_there(self, library: "Search", search: "Search") -> None:
        for mode in SearchMode:
            answer = await search.ask("pump", mode=mode)
            assert (answer.total, answer.results) == (0, [])

    async def test_principals_decide_who_finds_restricted_documents(self, search: "Search") -> None:
        await search.store("The public turbine")
        await search.store("The secret turbine", allowed_principals=["team:a"])

        assert await search.texts("turbine secret") == ["The public turbine"]
        assert await search.texts("turbine secret", principals=frozenset({"team:b"})) == [
            "The public turbine"
        ]
        mine = await search.texts("turbine secret", principals=frozenset({"team:a", "team:b"}))
        assert mine == ["The secret turbine", "The public turbine"]


class TestProcess:
    @pytest.mark.parametrize("query", [" ", "\x00\x07", "\u200b\u3000"])
    async def test_an_empty_query_is_refused(self, search: "Search", query: str) -> None:
        with pytest.raises(RemoteError) as raised:
            await search.ask(query)

        assert raised.value.data.code == "validation_failed"
        assert raised.value.data.errors[0].field == "query"

    async def test_searches_are_counted_by_mode_and_outcome(self, library: "Search") -> None:
        def count(outcome: str) -> float:
            return REGISTRY.get_sample_value("searches_total", {"mode": "keyword", "outcome": outcome}) or 0.0

        outcomes = ("found", "nothing", "validation_failed")
        before = [count(outcome) for outcome in outcomes]

        await library.ask("pump", mode=KEYWORD)
        await library.ask("?", mode=KEYWORD)
        with pytest.raises(RemoteError):
            await library.ask(" ", mode=KEYWORD)

        assert [count(outcome) for outcome in outcomes] == [number + 1 for number in before]
        assert REGISTRY.get_sample_value("search_duration_seconds_count", {"mode": "keyword"})

    async def test_more_at_once_than_are_answered_at_a_time_are_all_answered(self, library: "Search") -> None:
        answers = await asyncio.gather(*(library.ask(f"pump {number}") for number in range(48)))

        assert all(answer.results[0].text.startswith("The centrifugal") for answer in answers)

    async def test_it_is_ready_when_bus_and_index_are(
        self, settings: SearchSettings, library: "Search"
    ) -> None:
        async with build(settings) as service:
            for check in service.checks.values():
                await check()

    async def test_it_is_unready_where_the_embedder_has_no_collection(
        self, settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("quarry_common.vectors.index.collection_name", lambda _: "chunks_nowhere")
        given = {"NATS_URL": settings.nats_url, "QDRANT_URL": settings.qdrant_url}
        async with build(load(SearchSettings, given)) as service:
            with pytest.raises(EmbedderMismatchError, match="no collection chunks_nowhere"):
                await service.checks["vector_index"]()
