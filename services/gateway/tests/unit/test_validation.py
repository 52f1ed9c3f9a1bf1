from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from quarry_common.errors import FieldError, MalformedError, QuarryError, ValidationError
from quarry_gateway.forms import validation
from quarry_gateway.forms.documents import DocumentForm, wrong_metadata
from quarry_gateway.forms.validation import (
    MAX_ERRORS,
    check,
    decode_json,
    decode_query,
    path_text,
    path_uuid,
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Paint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    colour: Colour
    litres: Annotated[int, Meta(ge=1, le=10)] = 1
    names: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=2)] = []
    made: datetime | None = None
    other: Colour | None = None
    glossy: bool = False


def errors_of(raw: Any, kind: type[msgspec.Struct] = Paint, **options: bool) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        check(raw, kind, **options)
    return {error.field: error.message for error in caught.value.data.errors}


def test_what_is_right_is_decoded() -> None:
    paint = decode_json(b'{"colour":"red","litres":2,"names":["a"]}', Paint)

    assert paint == Paint(Colour.RED, 2, ["a"])


def test_every_wrong_field_is_told_in_words() -> None:
    raw = {
        "colour": "green", "litres": 11, "names": ["", 3], "made": "yesterday", "glossy": "yes", "size": 1,
        "other": "pink",
    }  # fmt: skip

    assert errors_of(raw) == {
        "size": "is not known; known are colour, litres, names, made, other, glossy",
        "colour": "must be one of red, blue",
        "other": "must be one of red, blue",
        "litres": "must be at most 10",
        "names[0]": "must not be empty",
        "names[1]": "must be a string, not an integer",
        "made": "must be a time in ISO 8601 with a zone, such as 2026-01-31T12:00:00Z",
        "glossy": "must be true or false, not a string",
    }


def test_a_missing_field_and_a_list_that_is_too_long_are_told() -> None:
    assert errors_of({"names": ["a", "b", "c"]}) == {
        "colour": "is missing",
        "names": "must be at most 2 items long",
    }


def test_a_nul_is_refused_wherever_it_stands() -> None:
    body = b'{"title":"\\\\\\u0000","tags":["\\\\u0000"],"metadata":{"x":["\\u0000"],"y\\u0000":1}}'

    with pytest.raises(ValidationError) as caught:
        decode_json(body, DocumentForm)

    assert {error.field for error in caught.value.data.errors} == {"title", "metadata"}


def test_what_is_wrong_everywhere_costs_no_more_than_the_first_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[FieldError] = []

    def tell(field: str, error: str) -> FieldError:
        told.append(FieldError(field, error))
        return told[-1]

    monkeypatch.setattr(validation, "FieldError", tell)
    body = msgspec.json.encode({"tags": [0] * 300_000, **{f"unknown{i}": 1 for i in range(300_000)}})

    with pytest.raises(ValidationError) as caught:
        decode_json(body, DocumentForm)

    assert len(told) == MAX_ERRORS + 1
    assert len(caught.value.data.errors) == MAX_ERRORS
    assert caught.value.data.detail.startswith("More than 100 fields")


def test_a_backslash_before_u0000_is_text() -> None:
    assert decode_json(b'{"title":"\\\\u0000"}', DocumentForm).title == "\\u0000"


def test_a_query_string_is_text_read_as_types() -> None:
    paint = decode_query(b"colour=blue&litres=3&glossy=true", Paint)

    assert paint == Paint(Colour.BLUE, 3, glossy=True)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e9", "2026-01-31", "", "null"])
def test_a_time_in_a_query_is_no_number(text: str) -> None:
    assert errors_of({"colour": "red", "made": text}, texts=True) == {
        "made": "must be a time in ISO 8601 with a zone, such as 2026-01-31T12:00:00Z"
    }


@pytest.mark.parametrize("query", [b"a=%ff", b"a=%ed%a0%80", b"&".join(b"a%d=1" % i for i in range(51))])
def test_a_query_string_that_cannot_be_read_is_malformed(query: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_query(query, Paint)


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="1 field is wrong"):
        decode_query(b"colour=red&colour=blue", Paint)


@pytest.mark.parametrize("text", ["", "7", "{0192f0c1-0000-7000-8000-000000000000}", "g" * 36])
def test_an_id_in_a_path_is_a_uuid(text: str) -> None:
    with pytest.raises(ValidationError):
        path_uuid(text, "job_id")


def test_a_uuid_in_a_path_is_read() -> None:
    assert path_uuid(str(UUID(int=5)), "job_id") == UUID(int=5)


def test_text_in_a_path_keeps_its_slashes() -> None:
    assert path_text(b"/x/a%2Fb//c%20d/?q", "/x/") == "a/b//c d/"


def test_metadata_has_its_bounds() -> None:
    metadata: dict[str, object] = {
        "ok": [1, "x", None, True, 2.5], "big": 1 << 63, "least": -(1 << 63), "": 1, "n" * 101: 1,
        "long": "x" * 10_001, "many": [0] * 1001,
    }  # fmt: skip

    assert {error.field for error in wrong_metadata(metadata)} == {
        "metadata.big", "metadata.", "metadata." + "n" * 100 + "…", "metadata.long", "metadata.many",
    }  # fmt: skip
    assert next(wrong_metadata({f"n{i}": i for i in range(101)})).field == "metadata"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from([*DocumentForm.__struct_fields__, "nope"])


def refusal(body: bytes) -> QuarryError | None:
    try:
        decode_json(body, DocumentForm)
    except QuarryError as error:
        return error
    return None


@given(st.dictionaries(names, json_values, max_size=6))
def test_any_json_object_is_a_document_or_refused_by_field(raw: dict[str, Any]) -> None:
    refused = refusal(msgspec.json.encode(raw))

    assert refused is None or refused.data.errors or refused.data.status == 400


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_refused(body: bytes) -> None:
    refused = refusal(body)

    assert refused is None or 400 <= refused.data.status < 500


class Span(msgspec.Struct, frozen=True):
    first: date


@pytest.mark.parametrize("first", ["yesterday", "2026-02-30", "2026-1-1"])
def test_what_is_no_day_is_told_what_one_looks_like(first: str) -> None:
    with pytest.raises(ValidationError) as caught:
        decode_query(f"first={first}".encode(), Span)

    assert [(error.field, error.message) for error in caught.value.data.errors] == [
        ("first", "must be a day, such as 2026-01-31")
    ]
