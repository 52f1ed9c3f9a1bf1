"""What a search may ask for beside words: phrases, facets, order, explanations; several at once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarry_common.contracts.filters import And, AnyOf, Exists, Field, Filter, Not, Or, Range
from quarry_common.contracts.search import (
    BATCH,
    Answer,
    Batch,
    Facet,
    FacetCount,
    Query,
    RerankOutcome,
    SearchMode,
    Sort,
    SortField,
)
from quarry_common.errors import RemoteError
from quarry_common.settings import load
from quarry_search.reranking import open_reranker
from quarry_search.searching import Searcher
from quarry_search.settings import SearchSettings
from quarry_search.timings import Timings

from .conftest import Search

HYBRID, SEMANTIC, KEYWORD = SearchMode.HYBRID, SearchMode.SEMANTIC, SearchMode.KEYWORD
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


Respond = Callable[[dict[str, Any]], tuple[int, object]]


@asynccontextmanager
async def reranking(search: Search, respond: Respond, **settings: str) -> AsyncIterator[Searcher]:
    """A searcher with a reranker that answers as `respond` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        status, body = respond(json.loads(await reader.readexactly(length)))
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status:
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (status, len(content))
            )
            writer.write(content)
            await writer.drain()
        else:
            await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = {"RERANKER_URL": f"http://127.0.0.1:{port}/rerank", "RERANKER_TIMEOUT_SECONDS": "0.5", **settings}
    async with server, open_reranker(load(SearchSettings, given)) as reranker:
        yield Searcher(search.index, Local(search), reranker)


class Local:
    """The test's embedder as the searcher uses one."""

    def __init__(self, search: Search) -> None:
        inner = search.embedder
        self.id, self.dimensions, self.max_tokens, self._inner = (
            inner.id,
            inner.dimensions,
            inner.max_tokens,
            inner,
        )

    async def embed(self, texts: Any, *, deadline: float, owner: str = "") -> Any:
        return self._inner.embed(texts)

    async def close(self) -> None:
        return None


def shortest_first(request: dict[str, Any]) -> tuple[int, object]:
    scores = [{"index": n, "relevance_score": -len(text)} for n, text in enumerate(request["documents"])]
    return 200, {"results": scores[::-1]}


class TestReranking:
    async def _ask(self, searcher: Searcher, search: Search, **options: Any) -> Answer:
        query = Query(search.tenant_id, "stone", mode=KEYWORD, rerank=True, **options)
        return await searcher.search(query, Timings())

    async def test_the_reranker_orders_the_best_results(self, search: Search) -> None:
        await search.store("stone stone and stone again", "a stone", "stone")

        async with reranking(search, shortest_first) as searcher:
            answer = await self._ask(searcher, search, explain=True)

        assert [result.text for result in answer.results] == [
            "stone",
            "a stone",
            "stone stone and stone again",
        ]
        assert answer.rerank is RerankOutcome.DONE
        first = answer.results[0].explanation
        assert first is not None
        assert first.rerank is not None
        assert first.rerank.rank == 1

    async def test_what_is_beyond_its_candidates_stays_behind_them(self, search: Search) -> None:
        await search.store("stone", "a stone stone", "stone stone stone")
        before = await search.texts("stone", mode=KEYWORD)

        async with reranking(search, shortest_first, RERANKER_CANDIDATES="2") as searcher:
            answer = await self._ask(searcher, search)

        texts = [result.text for result in answer.results]
        assert sorted(texts[:2]) == sorted(before[:2])
        assert texts[2] == before[2]

    @pytest.mark.parametrize(
        "reply",
        [
            pytest.param((500, b"no"), id="500"),
            pytest.param((200, b"no JSON"), id="garbage"),
            pytest.param((200, {"results": []}), id="nothing"),
            pytest.param((200, {"results": [{"index": 9, "relevance_score": 1}]}), id="another index"),
            pytest.param((0, b""), id="slow"),
        ],
    )
    async def test_when_it_fails_the_order_stays_and_the_answer_says_so(
        self, search: Search, reply: tuple[int, object]
    ) -> None:
        await search.store("stone stone and stone again", "a stone", "stone")
        before = await search.texts("stone", mode=KEYWORD)

        async with reranking(search, lambda _: reply) as searcher:
            answer = await self._ask(searcher, search)

        assert [result.text for result in answer.results] == before
        assert answer.rerank is RerankOutcome.FAILED

    async def test_one_that_is_not_there_is_told_too(self, search: Search) -> None:
        await search.store("stone")

        answer = await search.ask("stone", rerank=True)

        assert answer.rerank is RerankOutcome.FAILED
        assert (await search.ask("stone")).rerank is RerankOutcome.NOT_ASKED


TYPES, TAGS = ("pdf", "txt", "html"), ("a", "b", "c", "d")
DOCUMENTS = [
    {
        "document_id": UUID(int=n + 1),
        "doc_type": TYPES[n % 3],
        "tags": [tag for place, tag in enumerate(TAGS) if (n >> place) & 1],
        "metadata": {"n": n % 7, "even": n % 2 == 0} | ({"rare": f"r{n}"} if n % 11 == 0 else {}),
        "title": f"Title {n * 7 % 10}",
        "created_at": MOMENT + timedelta(hours=n * 5 % 13),
    }
    for n in range(48)
]


@pytest.fixture(scope="session")
async def quarry(service: Any) -> Search:
    """Documents of which every one is found by `stone`, more or less well."""
    made = Search(*service, uuid4())
    for n, fields in enumerate(DOCUMENTS):
        await made.store("stone " * (n % 5 + 1) + f"number {n}", **fields)
    return made


def filters() -> st.SearchStrategy[Filter]:
    leaf = st.one_of(
        st.lists(st.sampled_from(TYPES), min_size=1, max_size=2).map(
            lambda v: AnyOf(Field.DOC_TYPE, tuple(v))
        ),
        st.lists(st.sampled_from(TAGS), min_size=1, max_size=2).map(lambda v: AnyOf(Field.TAGS, tuple(v))),
        st.integers(0, 7).map(lambda v: AnyOf(Field.METADATA, (v,), "n")),
        st.booleans().map(lambda v: AnyOf(Field.METADATA, (v,), "even")),
        st.tuples(st.integers(0, 6), st.integers(0, 6)).map(
            lambda v: Range(Field.METADATA, gte=float(min(v)), lt=float(max(v) + 1), name="n")
        ),
        st.just(Exists(Field.METADATA, "rare")),
        st.integers(0, 13).map(lambda v: Range(Field.CREATED_AT, gte=MOMENT + timedelta(hours=v))),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda v: And(tuple(v))),
            st.lists(inner, min_size=1, max_size=3).map(lambda v: Or(tuple(v))),
            inner.map(Not),
        ),
        max_leaves=6,
    )


def holds(tree: Filter, document: dict[str, Any]) -> bool:
    match tree:
        case AnyOf():
            values = _values(tree.field, tree.name, document)
            return any(type(v) is type(w) and v == w for v in values for w in tree.values)
        case Range():
            low, high = tree.gte, tree.lt
            values = [v for v in _values(tree.field, tree.name, document) if not isinstance(v, bool)]
            return any((low is None or v >= low) and (high is None or v < high) for v in values)
        case Exists():
            return bool(_values(tree.field, tree.name, document))
        case And(parts):
            return all(holds(part, document) for part in parts)
        case Or(parts):
            return any(holds(part, document) for part in parts)
        case Not(inner):
            return not holds(inner, document)


def _values(field: Field, name: str, document: dict[str, Any]) -> list[Any]:
    value = document["metadata"].get(name) if field is Field.METADATA else document[field.value]
    return [] if value is None else value if isinstance(value, list) else [value]


SORTS = st.one_of(st.none(), st.builds(Sort, st.sampled_from(SortField), st.booleans()))


@pytest.mark.parametrize(
    "cases",
    [pytest.param(60, id="short"), pytest.param(1000, id="full", marks=pytest.mark.full)],
)
@pytest.mark.timeout(600)
async def test_filters_facets_order_and_cursors_agree_with_a_model(quarry: Search, cases: int) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        tree=st.one_of(st.none(), filters()),
        sort=SORTS,
        limit=st.integers(1, 20),
        mode=st.sampled_from(SearchMode),
    )
    def compare(tree: Filter | None, sort: Sort | None, limit: int, mode: SearchMode) -> None:
        asyncio.run_coroutine_threadsafe(check(quarry, tree, sort, limit, mode), loop).result(60)

    await asyncio.to_thread(compare)


async def check(quarry: Search, tree: Filter | None, sort: Sort | None, limit: int, mode: SearchMode) -> None:
    wanted = [document for document in DOCUMENTS if tree is None or holds(tree, document)]
    facets = [Facet(Field.TAGS), Facet(Field.METADATA, "n")]
    seen, cursor, first = [], None, None
    while True:
        answer = await quarry.ask(
            "stone",
            filters=tree,
            sort=sort,
            limit=limit,
            mode=mode,
            facets=facets,
            facet_limit=100,
            cursor=cursor,
        )
        first = first or answer
        seen += answer.results
        assert answer.facets == first.facets
        assert answer.total == len(wanted)
        if (cursor := answer.next_cursor) is None:
            break

    assert sorted(result.document_id for result in seen) == [document["document_id"] for document in wanted]
    counted = {count.value: count.count for count in first.facets["tags"]}
    assert counted == {
        tag: sum(tag in document["tags"] for document in wanted)
        for tag in TAGS
        if any(tag in document["tags"] for document in wanted)
    }
    numbers = {count.value: count.count for count in first.facets["metadata.n"]}
    assert numbers == {
        n: count for n in range(7) if (count := sum(document["metadata"]["n"] == n for document in wanted))
    }
    if sort is None:
        scores = [result.score for result in seen]
        assert scores == sorted(scores, reverse=True)
    elif sort.by is not SortField.UPDATED_AT:
        keys = [getattr(result, sort.by.value) for result in seen]
        assert keys == sorted(keys, reverse=sort.descending)
