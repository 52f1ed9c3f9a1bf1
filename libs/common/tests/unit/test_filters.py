from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common.contracts.filters import And, AnyOf, Exists, Field, Filter, Not, Or, Range, parse
from quarry_common.errors import ValidationError


@pytest.mark.parametrize(
    ("raw", "tree"),
    [
        ({}, And(())),
        ({"doc_type": "pdf"}, AnyOf(Field.DOC_TYPE, ("pdf",))),
        ({"doc_type": ["pdf", "docx"]}, AnyOf(Field.DOC_TYPE, ("pdf", "docx"))),
        ({"tags": {"none": ["draft"]}}, Not(AnyOf(Field.TAGS, ("draft",)))),
        ({"tags": {"all": ["a", "b"]}}, And((AnyOf(Field.TAGS, ("a",)), AnyOf(Field.TAGS, ("b",))))),
        (
            {"metadata": {"year": {"gte": 2020, "lt": 2024}}},
            Range(Field.METADATA, gte=2020, lt=2024, name="year"),
        ),
        ({"metadata": {"and": True}}, AnyOf(Field.METADATA, (True,), "and")),
        ({"not": {"source_url": {"exists": True}}}, Not(Exists(Field.SOURCE_URL))),
        ({"source_url": {"exists": False}}, Not(Exists(Field.SOURCE_URL))),
        ({"collection": {"ne": "a"}}, Not(AnyOf(Field.COLLECTION, ("a",)))),
        (
            {"or": [{"collection": "a"}, {"doc_type": "b"}]},
            Or((AnyOf(Field.COLLECTION, ("a",)), AnyOf(Field.DOC_TYPE, ("b",)))),
        ),
        (
            {"created_at": {"gte": "2026-01-01T02:00:00+02:00"}},
            Range(Field.CREATED_AT, gte=datetime(2026, 1, 1, tzinfo=UTC)),
        ),
        ({"created_at": {"lt": "2026-01-01"}}, Range(Field.CREATED_AT, lt=datetime(2026, 1, 1, tzinfo=UTC))),
    ],
)
def test_what_is_written_is_what_is_meant(raw: dict[str, Any], tree: Filter) -> None:
    assert parse(raw) == tree
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Filter) == tree


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {"doc_type": "pdf"}
    for _ in range(depth):
        tree = {"not": tree}
    return tree


@pytest.mark.parametrize(
    ("raw", "path", "sentence"),
    [
        ({"colour": "red"}, "filters.colour", "is not known"),
        ({"or": []}, "filters.or", "at least one"),
        ({"or": [{"x": 1}]}, "filters.or[0].x", "is not known"),
        ({"doc_type": {"gt": "a"}}, "filters.doc_type", "cannot be compared"),
        ({"doc_type": {}}, "filters.doc_type", "at least one condition"),
        ({"doc_type": []}, "filters.doc_type", "1 to 1000 values"),
        ({"doc_type": ["x"] * 1001}, "filters.doc_type", "1 to 1000 values"),
        ({"doc_type": None}, "filters.doc_type", "must be a string"),
        ({"document_id": "1"}, "filters.document_id", "UUID"),
        ({"created_at": "yesterday"}, "filters.created_at", "ISO 8601"),
        ({"created_at": {"gt": 5}}, "filters.created_at.gt", "ISO 8601"),
        ({"created_at": {"gt": "0001-01-01T00:00:00+14:00"}}, "filters.created_at.gt", "ISO 8601"),
        ({"metadata": {"a": {"gt": 10**400}}}, "filters.metadata.a.gt", "64 bits"),
        ({"metadata": {"a": 1 << 64}}, "filters.metadata.a", "64 bits"),
        ({"metadata": {"a": {"gt": 1, "lt": "2026-01-01"}}}, "filters.metadata.a", "mixes"),
        ({"metadata": {"a": {"gt": True}}}, "filters.metadata.a.gt", "number"),
        ({"metadata": {"a": {"b": {"c": 1}}}}, "filters.metadata.a.b", "is not known"),
        ({"metadata": []}, "filters.metadata", "must be an object"),
        ({"source_url": {"exists": "yes"}}, "filters.source_url.exists", "true or false"),
        (nested(8), "filters" + ".not" * 8, "nested more than 8"),
        ({"metadata": {str(i): i for i in range(201)}}, "filters", "at most 200"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(raw: dict[str, Any], path: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(raw)

    (error,) = caught.value.data.errors
    assert error.field == path
    assert sentence in error.message


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        parse({"colour": 1, "doc_type": 2, "or": 3})

    assert [error.field for error in caught.value.data.errors] == [
        "filters.colour",
        "filters.doc_type",
        "filters.or",
    ]


KEYS = st.sampled_from(
    [*Field, "and", "or", "not", "any", "all", "none", "eq", "in", "gt", "gte", "lt", "exists", "x"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.datetimes().map(str)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_json_is_a_filter_or_refused(raw: dict[str, Any]) -> None:
    try:
        tree = parse(raw)
    except ValidationError as error:
        paths = [item.field for item in error.data.errors]
    else:
        paths = []
        assert msgspec.json.decode(msgspec.json.encode(tree), type=Filter) is not None
    assert all(path.startswith("filters") for path in paths)
