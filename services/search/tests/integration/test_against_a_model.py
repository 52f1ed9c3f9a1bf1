"""Filters, facets, order and cursors, whatever they are: the answers are those of a model in a few lines."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarry_common.contracts.filters import And, AnyOf, Exists, Field, Filter, Not, Or, Range
from quarry_common.contracts.search import Facet, SearchMode, Sort, SortField

from .conftest import Search

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
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
