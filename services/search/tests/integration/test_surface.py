"""What a search may ask for beside words: phrases, facets, order, explanations; several at once."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from quarry_common.contracts.filters import Field
from quarry_common.contracts.search import BATCH, Batch, Facet, FacetCount, Query, SearchMode, Sort, SortField
from quarry_common.errors import RemoteError

from .conftest import Search

KEYWORD = SearchMode.KEYWORD
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class TestPhrases:
    @pytest.mark.parametrize("mode", SearchMode)
    async def test_results_hold_the_phrase_word_by_word(self, search: Search, mode: SearchMode) -> None:
        await search.store("the notice period is long", "a period of notice is given", "notice the period")

        assert await search.texts('"Notice Period"', mode=mode) == ["the notice period is long"]

    async def test_a_phrase_may_stand_in_the_title(self, search: Search) -> None:
        await search.store("some text", title="Master Service Agreement")
        await search.store("the service of a master", title="Other")

        assert await search.texts('"service agreement"') == ["some text"]

    async def test_every_phrase_must_be_there(self, search: Search) -> None:
        await search.store("alpha beta and gamma delta", "alpha beta", "gamma delta")

        assert await search.texts('"alpha beta" "gamma delta"') == ["alpha beta and gamma delta"]


class TestTypos:
    async def test_a_slip_finds_what_was_meant_and_the_answer_tells(self, search: Search) -> None:
        await search.store("the turbine stands still", "the pump is dry")

        answer = await search.ask("turbime", mode=KEYWORD, explain=True)

        assert [result.text for result in answer.results] == ["the turbine stands still"]
        assert answer.explanation is not None
        assert answer.explanation.corrections == ["turbime"]

    async def test_a_word_that_stands_somewhere_is_taken_as_it_is(self, search: Search) -> None:
        await search.store("the horse", "the house")

        answer = await search.ask("house", mode=KEYWORD, explain=True)

        assert [result.text for result in answer.results] == ["the house"]
        assert answer.explanation is not None
        assert answer.explanation.corrections == []


class TestFacets:
    async def test_documents_are_counted_each_once(self, search: Search) -> None:
        long = uuid4()
        await search.store("stone one", "stone two", document_id=long, tags=["a", "b"], metadata={"n": 1})
        await search.store("stone three", tags=["a"], metadata={"n": 1.0})
        await search.store("stone four", doc_type="pdf", metadata={"n": True})
        await search.store("wood", tags=["a"])

        facets = [Facet(Field.TAGS), Facet(Field.DOC_TYPE), Facet(Field.METADATA, "n")]
        answer = await search.ask("stone", mode=KEYWORD, facets=facets)

        assert answer.facets == {
            "tags": [FacetCount("a", 2), FacetCount("b", 1)],
            "doc_type": [FacetCount("txt", 2), FacetCount("pdf", 1)],
            "metadata.n": [FacetCount(1, 2), FacetCount(True, 1)],
        }

    async def test_they_count_beyond_the_page_and_keep_to_their_limit(self, search: Search) -> None:
        for n in range(7):
            await search.store(f"stone {n}", tags=[f"t{n % 3}"])

        answer = await search.ask("stone", mode=KEYWORD, limit=1, facets=[Facet(Field.TAGS)], facet_limit=2)

        assert answer.facets == {"tags": [FacetCount("t0", 3), FacetCount("t1", 2)]}

    async def test_they_tell_nothing_of_documents_one_may_not_find(self, search: Search) -> None:
        await search.store("stone", tags=["open"])
        await search.store("stone", tags=["secret"], allowed_principals=["ada"])

        answers = [
            await search.ask("stone", mode=KEYWORD, facets=[Facet(Field.TAGS)], principals=who)
            for who in (frozenset(), frozenset({"ada"}))
        ]

        assert answers[0].facets == {"tags": [FacetCount("open", 1)]}
        assert len(answers[1].facets["tags"]) == 2


class TestOrder:
    async def test_results_are_sorted_by_a_field(self, search: Search) -> None:
        for n, title in enumerate(["b", "C", "a"]):
            await search.store("stone " * (n + 1), title=title, created_at=MOMENT + timedelta(days=n % 2))

        by_title = await search.ask("stone", mode=KEYWORD, sort=Sort(SortField.TITLE))
        newest = await search.ask("stone", mode=KEYWORD, sort=Sort(SortField.CREATED_AT, descending=True))

        assert [result.title for result in by_title.results] == ["a", "b", "C"]
        assert newest.results[0].title == "C"

    @pytest.mark.parametrize("mode", SearchMode)
    async def test_nothing_below_the_least_score_is_shown(self, search: Search, mode: SearchMode) -> None:
        await search.store("stone stone stone", "a stone", "something quite different about clouds")
        every = await search.ask("stone", mode=mode)
        least = every.results[0].score

        answer = await search.ask("stone", mode=mode, min_score=least)

        assert answer.total < 3
        assert answer.results[0].chunk_id == every.results[0].chunk_id
        assert all(result.score >= least for result in answer.results)

    async def test_a_cursor_does_not_go_on_in_another_order(self, search: Search) -> None:
        await search.store(*(f"stone {n}" for n in range(3)))
        answer = await search.ask("stone", limit=1)

        with pytest.raises(RemoteError) as refused:
            await search.ask("stone", limit=1, cursor=answer.next_cursor, sort=Sort(SortField.TITLE))

        assert refused.value.data.errors[0].field == "cursor"


class TestExplanation:
    async def test_it_tells_where_a_result_stood_in_each_list(self, search: Search) -> None:
        await search.store("the turbine stands still", "an engine that does not move")

        answer = await search.ask("turbine", explain=True)

        first = answer.results[0].explanation
        assert first is not None
        assert (first.dense and first.dense.rank, first.sparse and first.sparse.rank) == (1, 1)
        assert first.fused is not None
        assert first.fused.score == answer.results[0].score
        second = answer.results[1].explanation
        assert second is not None
        assert second.sparse is None
        assert answer.explanation is not None
        assert (answer.explanation.terms, answer.explanation.dense_weight) == (["turbin"], 0.65)

    async def test_without_being_asked_nothing_is_explained(self, search: Search) -> None:
        await search.store("the turbine")

        answer = await search.ask("turbine")

        assert (answer.explanation, answer.results[0].explanation) == (None, None)


class TestBatch:
    async def test_each_search_has_its_own_outcome(self, search: Search) -> None:
        await search.store("stone", "wood")
        queries = [Query(search.tenant_id, text, mode=KEYWORD) for text in ("stone", " ", "wood")]

        outcomes = (await search.rpc.call(BATCH, Batch(queries))).outcomes

        assert [outcome.answer.results[0].text if outcome.answer else None for outcome in outcomes] == [
            "stone",
            None,
            "wood",
        ]
        assert outcomes[1].error is not None
        assert outcomes[1].error.code == "validation_failed"
