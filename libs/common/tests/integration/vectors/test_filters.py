"""Every filter means on the real engine what it means in a few lines of Python."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quarry_common.contracts.filters import (
    MAX_DEPTH,
    And,
    AnyOf,
    Exists,
    Field,
    Filter,
    Not,
    Or,
    Range,
    Scalar,
    parse,
)
from quarry_common.embedding.bm25 import SparseVector
from quarry_common.ids import new_id
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import ChunkPoint
from quarry_common.vectors.queries import Legs

TENANT = new_id()
START = datetime(2026, 1, 1, tzinfo=UTC)
BIG = 2**53

NUMBERS: list[int | float] = [0, 1, 5, 5.0, 5.5, -3, 0.1, 2020, 2020.0, 1e15, BIG, BIG + 1, -(2**63), 2**63]
DATES = ["2026-01-02T00:00:00Z", "2026-01-03T12:30:00+02:00", "2026-01-05", "1999-12-31T23:59:59.5Z"]
TEXTS = ["", "a", "A", "ä", "5", "true", 'quo"te', "dot.ted", "long " * 40, *DATES]
SCALARS: list[Scalar] = [*NUMBERS, *TEXTS, True, False]
LISTS: list[list[Any]] = [[], [None], [1, "a", True], [5.0, 6], ["a", "b"], [None, "a"], [False], DATES[:2]]
NAMES = ["m", 'odd "name"', "dotted.name[0]", "", "100%", "with space", "größe"]
MOMENTS = [START + timedelta(days=days) for days in (0, 1, 2, 2.4375, 4, 400, -9000)]
WORDS = ["pdf", "docx", "Ünïcode", "a b"]


def population() -> list[ChunkPoint]:
    """Return points that hold every value above in every kind of place."""
    values: list[Any] = [*SCALARS, None, *LISTS]
    chunks = []
    for number, value in enumerate(values):
        name = NAMES[number % len(NAMES)]
        metadata = {"m": value, name: value} if number % 5 else {}
        chunks.append((number, metadata))
    return [_chunk(number, metadata) for number, metadata in chunks]


def _chunk(number: int, metadata: dict[str, Any]) -> ChunkPoint:
    return ChunkPoint(
        tenant_id=TENANT,
        document_id=uuid5(TENANT, str(number)),
        version=1,
        ordinal=0,
        collection=WORDS[number % 3],
        text="text",
        title="",
        heading_path=[],
        page=None,
        char_start=0,
        char_end=4,
        doc_type=None if number % 4 == 0 else WORDS[number % 4],
        tags=WORDS[: number % 5],
        metadata=metadata,
        external_id=None if number % 2 else TEXTS[number % len(TEXTS)] or "e",
        source_url=None if number % 3 else "https://a.example/ü",
        allowed_principals=None,
        created_at=MOMENTS[number % len(MOMENTS)],
        updated_at=MOMENTS[-1 - number % len(MOMENTS)],
        dense=[1.0, 0.0, 0.0, 0.0],
        sparse=SparseVector([1], [1.0]),
    )


POPULATION = population()


def values_of(chunk: ChunkPoint, field: Field, name: str) -> list[Any]:
    value = chunk.metadata.get(name) if field is Field.METADATA else getattr(chunk, field.value)
    found = value if isinstance(value, list) else [value]
    return [str(item) if isinstance(item, UUID) else item for item in found if item is not None]


def same(stored: Any, wanted: Scalar) -> bool:
    return isinstance(stored, bool) == isinstance(wanted, bool) and stored == wanted


def within(stored: Any, bounds: Range) -> bool:
    given_bounds = [bound for bound in (bounds.gt, bounds.gte, bounds.lt, bounds.lte) if bound is not None]
    if isinstance(given_bounds[0], datetime):
        try:
            stored = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
        except ValueError:
            return False
        if not isinstance(stored, datetime):
            return False
        stored = stored if stored.tzinfo else stored.replace(tzinfo=UTC)
    elif isinstance(stored, bool) or not isinstance(stored, int | float):
        return False
    else:
        stored = float(stored)
    return (
        (bounds.gt is None or stored > bounds.gt)
        and (bounds.gte is None or stored >= bounds.gte)
        and (bounds.lt is None or stored < bounds.lt)
        and (bounds.lte is None or stored <= bounds.lte)
    )


def holds(tree: Filter, chunk: ChunkPoint) -> bool:
    match tree:
        case AnyOf():
            stored = values_of(chunk, tree.field, tree.name)
            return any(same(item, wanted) for item in stored for wanted in tree.values)
        case Range():
            return any(within(item, tree) for item in values_of(chunk, tree.field, tree.name))
        case Exists():
            # To Qdrant a list is empty only when nothing is in it, not even a null.
            listed = tree.field is Field.METADATA and chunk.metadata.get(tree.name) == [None]
            return listed or bool(values_of(chunk, tree.field, tree.name))
        case And():
            return all(holds(part, chunk) for part in tree.filters)
        case Or():
            return any(holds(part, chunk) for part in tree.filters)
        case Not():
            return not holds(tree.filter, chunk)


def metadata_names() -> st.SearchStrategy[str]:
    return st.sampled_from([*NAMES, "m", "m", "m", "missing"])


def bounds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), values, min_size=1, max_size=3)


def conditions() -> st.SearchStrategy[Filter]:
    texts = st.sampled_from([*WORDS, *TEXTS])
    words = st.sampled_from(
        [Field.DOC_TYPE, Field.TAGS, Field.COLLECTION, Field.EXTERNAL_ID, Field.SOURCE_URL]
    )
    documents = st.sampled_from([str(chunk.document_id) for chunk in POPULATION] + [str(TENANT)])
    scalars = st.sampled_from(SCALARS)
    numbers = bounds(st.sampled_from([float(n) for n in NUMBERS]))
    moments = bounds(st.sampled_from(MOMENTS))
    return st.one_of(
        st.builds(
            lambda field, items: AnyOf(field, tuple(items)), words, st.lists(texts, min_size=1, max_size=4)
        ),
        st.builds(
            lambda items: AnyOf(Field.DOCUMENT_ID, tuple(items)), st.lists(documents, min_size=1, max_size=4)
        ),
        st.builds(
            lambda name, items: AnyOf(Field.METADATA, tuple(items), name),
            metadata_names(),
            st.lists(scalars, min_size=1, max_size=4),
        ),
        st.builds(Exists, words),
        st.builds(Exists, st.just(Field.METADATA), metadata_names()),
        st.builds(
            lambda field, b: Range(field, **b), st.sampled_from([Field.CREATED_AT, Field.UPDATED_AT]), moments
        ),
        st.builds(
            lambda name, b: Range(Field.METADATA, name=name, **b),
            metadata_names(),
            st.one_of(numbers, moments),
        ),
    )


def trees() -> st.SearchStrategy[Filter]:
    return st.recursive(
        conditions(),
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(lambda parts: And(tuple(parts)), st.lists(inner, max_size=3)),
            st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, max_size=3)),
        ),
        max_leaves=8,
    )


@pytest.fixture(scope="session", autouse=True)
async def population_stored(index: VectorIndex) -> None:
    await index.upsert_inactive(POPULATION)
    for chunk in POPULATION:
        await index.activate(TENANT, [(chunk.document_id, 1)])


async def found(index: VectorIndex, tree: Filter) -> set[UUID]:
    legs = Legs(dense=[1.0, 0.0, 0.0, 0.0])
    ranked = await index.search(Scope(TENANT, filters=tree), legs, depth=len(POPULATION) + 1)
    return {UUID(candidate.chunk_id) for candidate in ranked.candidates}


def expected(tree: Filter) -> set[UUID]:
    return {chunk.id for chunk in POPULATION if holds(tree, chunk)}


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(tree=trees())
@example(tree=And(()))
@example(tree=Or(()))
@example(tree=Not(And(())))
@example(tree=Not(Or(())))
@example(tree=Or((Or(()), AnyOf(Field.COLLECTION, ("pdf",)))))
async def test_any_tree_finds_what_it_describes(index: VectorIndex, tree: Filter) -> None:
    assert await found(index, tree) == expected(tree)


def single_values() -> Iterator[Filter]:
    for value in SCALARS:
        yield AnyOf(Field.METADATA, (value,), "m")
        yield Not(AnyOf(Field.METADATA, (value,), "m"))
    for name in NAMES:
        yield Exists(Field.METADATA, name)
        yield AnyOf(Field.METADATA, (*SCALARS,), name)


@pytest.mark.parametrize("tree", list(single_values()))
async def test_every_value_is_found_as_what_it_is(index: VectorIndex, tree: Filter) -> None:
    assert await found(index, tree) == expected(tree)


async def test_a_filter_as_callers_write_it(index: VectorIndex) -> None:
    tree = parse(
        {
            "doc_type": ["docx", "a b"],
            "tags": {"any": ["pdf", "docx"], "none": ["a b"]},
            "created_at": {"gte": "2026-01-01T00:00:00Z", "lt": "2026-06-01"},
            "or": [{"metadata": {"m": {"gte": 0, "lt": 3000}}}, {"not": {"source_url": {"exists": True}}}],
        }
    )

    assert expected(tree)
    assert await found(index, tree) == expected(tree)


async def test_a_large_filter_is_answered(index: VectorIndex) -> None:
    many = tuple(f"value {n}" for n in range(1000))
    tree: Filter = Or((AnyOf(Field.METADATA, many, "m"), AnyOf(Field.METADATA, tuple(range(1000)), "m")))

    assert expected(tree)
    assert await found(index, tree) == expected(tree)


async def test_the_deepest_filter_that_is_accepted_is_answered(index: VectorIndex) -> None:
    raw: dict[str, Any] = {
        "tags": {"any": "pdf", "none": "a b"},
        "metadata": {"m": {"ne": 5, "exists": True}},
    }
    for depth in range(MAX_DEPTH - 1):
        kind = ("or", "and", "not")[depth % 3]
        raw = {"source_url": {"ne": "x"}, kind: raw if kind == "not" else [raw, {"doc_type": "pdf"}]}
    tree = parse(raw)

    assert expected(tree)
    assert await found(index, tree) == expected(tree)


async def test_numbers_that_no_float_holds_are_found_nowhere(index: VectorIndex) -> None:
    assert await found(index, AnyOf(Field.METADATA, (10**400, -(10**400)), "m")) == set()
