"""The filter language: what callers write, and what keys and tokens force.

A filter is a JSON object; its members are joined by AND. `and`, `or` and `not` nest further filters::

    {"doc_type": ["pdf", "docx"],
     "tags": {"any": ["finance", "legal"], "none": ["draft"]},
     "created_at": {"gte": "2026-01-01T00:00:00Z"},
     "metadata": {"year": {"gte": 2020, "lt": 2024}, "author": "Ada"},
     "or": [{"collection": "contracts"}, {"not": {"source_url": {"exists": true}}}]}

`parse` checks it and returns the tree below, which travels to the search service and is turned into the
vector index's own form there.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from quarry_common.errors import FieldError, ValidationError

MAX_DEPTH: Final = 8
MAX_CONDITIONS: Final = 200
MAX_VALUES: Final = 1000
MAX_NESTED: Final = 1000
"""Filters within a filter, those that say nothing too."""
MAX_ERRORS: Final = 100
MAX_SHOWN: Final = 100
MIN_INTEGER: Final = -(1 << 63)
MAX_INTEGER: Final = (1 << 63) - 1

Scalar = str | int | float | bool


class Field(StrEnum):
    """What of a document can be asked for; metadata is asked for by name."""

    DOC_TYPE = "doc_type"
    TAGS = "tags"
    COLLECTION = "collection"
    DOCUMENT_ID = "document_id"
    EXTERNAL_ID = "external_id"
    SOURCE_URL = "source_url"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    METADATA = "metadata"


_FIELD_NAMES: Final = frozenset(field.value for field in Field)
DATES: Final = frozenset({Field.CREATED_AT, Field.UPDATED_AT})


class AnyOf(msgspec.Struct, frozen=True, tag="any_of"):
    """The field, or one of its values when it has many, is one of `values`."""

    field: Field
    values: tuple[Scalar, ...]
    name: str = ""
    """Name of the metadata entry, when the field is metadata."""


class Range(msgspec.Struct, frozen=True, tag="range"):
    """The field lies within the bounds given. Numbers compare as numbers, ISO 8601 times as times."""

    field: Field
    gt: float | datetime | None = None
    gte: float | datetime | None = None
    lt: float | datetime | None = None
    lte: float | datetime | None = None
    name: str = ""


class Exists(msgspec.Struct, frozen=True, tag="exists"):
    """The field has a value."""

    field: Field
    name: str = ""


class And(msgspec.Struct, frozen=True, tag="and"):
    """Every one of them holds; an empty one always does."""

    filters: "tuple[Filter, ...]"


class Or(msgspec.Struct, frozen=True, tag="or"):
    """At least one of them holds; an empty one never does."""

    filters: "tuple[Filter, ...]"


class Not(msgspec.Struct, frozen=True, tag="not"):
    """It does not hold."""

    filter: "Filter"


Filter = AnyOf | Range | Exists | And | Or | Not


def collection_limits(tree: Filter | None) -> list[AnyOf]:
    """Return the conditions by which `tree` as a whole is limited to collections: each one has to hold."""
    parts = tree.filters if isinstance(tree, And) else (tree,)
    return [part for part in parts if isinstance(part, AnyOf) and part.field is Field.COLLECTION]


def parse(raw: Mapping[str, Any], path: str = "filters") -> Filter:
    """Return the tree of the JSON filter `raw`.

    Raises `ValidationError` that names every wrong member by its dotted path below `path`; of a filter that
    is too large or wrong everywhere, those that were found first.
    """
    parser = _Parser(path)
    tree: Filter = And(())
    with suppress(_EnoughError):
        tree = parser.tree(raw, path, depth=1)
    if parser.errors:
        raise ValidationError("The filter is not valid.", errors=parser.errors)
    return tree


class _EnoughError(Exception):
    """There is no use in reading on: what is wrong has been told."""


class _Parser:
    def __init__(self, path: str) -> None:
        self.errors: list[FieldError] = []
        self._path = path
        self._conditions = 0
        self._nested = 0

    def wrong(self, path: str, message: str) -> Filter:
        self.errors.append(FieldError(path, message))
        if len(self.errors) >= MAX_ERRORS:
            raise _EnoughError
        return And(())

    def count_condition(self) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            self.wrong(self._path, f"may have at most {MAX_CONDITIONS} conditions")
            raise _EnoughError

    def count_nested(self) -> None:
        self._nested += 1
        if self._nested > MAX_NESTED:
            self.wrong(self._path, f"may hold at most {MAX_NESTED} filters")
            raise _EnoughError

    def tree(self, raw: object, path: str, depth: int) -> Filter:
        if not isinstance(raw, Mapping):
            return self.wrong(path, 'must be an object, such as {"doc_type": "pdf"}')
        if depth > MAX_DEPTH:
            return self.wrong(path, f"is nested more than {MAX_DEPTH} deep")
        self.count_nested()
        parts = [self.member(key, value, _below(path, key), depth) for key, value in raw.items()]
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def member(self, key: str, value: object, path: str, depth: int) -> Filter:
        match key:
            case "and" | "or":
                return self.junction(key, value, path, depth)
            case "not":
                return Not(self.tree(value, path, depth + 1))
            case Field.METADATA:
                return self.metadata(value, path)
            case Field.TAGS:
                return self.tags(value, path)
            case _ if key in _FIELD_NAMES:
                return self.condition(Field(key), value, path)
            case _:
                known = ", ".join([*Field, "and", "or", "not"])
                return self.wrong(path, f"is not known; known are {known}")

    def junction(self, key: str, value: object, path: str, depth: int) -> Filter:
        if not isinstance(value, list) or not value:
            return self.wrong(path, "must be a list of at least one filter")
        parts = tuple(self.tree(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
        return And(parts) if key == "and" else Or(parts)

    def metadata(self, value: object, path: str) -> Filter:
        if not isinstance(value, Mapping) or not value:
            return self.wrong(
                path, 'must be an object of names and conditions, such as {"year": {"gte": 2020}}'
            )
        parts = [
            self.condition(Field.METADATA, item, _below(path, name), name) for name, item in value.items()
        ]
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def tags(self, value: object, path: str) -> Filter:
        if not isinstance(value, Mapping):
            return self.any_of(Field.TAGS, value, path)
        parts: list[Filter] = []
        for key, item in value.items():
            inner = _below(path, key)
            match key:
                case "any":
                    parts.append(self.any_of(Field.TAGS, item, inner))
                case "all":
                    each = item if isinstance(item, list) and item else [item]
                    parts += [self.any_of(Field.TAGS, tag, inner) for tag in each]
                case "none":
                    parts.append(Not(self.any_of(Field.TAGS, item, inner)))
                case _:
                    parts.append(self.wrong(inner, "is not known; known are any, all, none"))
        return self.joined(parts, path)

    def joined(self, parts: list[Filter], path: str) -> Filter:
        if not parts:
            return self.wrong(path, "must hold at least one condition")
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def condition(self, field: Field, value: object, path: str, name: str = "") -> Filter:
        if not isinstance(value, Mapping):
            return self.any_of(field, value, path, name)
        bounds = {key: value[key] for key in ("gt", "gte", "lt", "lte") if key in value}
        parts = [
            self.operator(field, key, value[key], _below(path, key), name)
            for key in value
            if key not in bounds
        ]
        if bounds:
            parts.append(self.bounds(field, bounds, path, name))
        return self.joined(parts, path)

    def operator(self, field: Field, key: str, value: object, path: str, name: str) -> Filter:
        match key:
            case "eq" | "in":
                return self.any_of(field, value, path, name)
            case "ne" | "nin":
                return Not(self.any_of(field, value, path, name))
            case "exists":
                if not isinstance(value, bool):
                    return self.wrong(path, "must be true or false")
                self.count_condition()
                return Exists(field, name) if value else Not(Exists(field, name))
            case _:
                return self.wrong(path, "is not known; known are eq, ne, in, nin, gt, gte, lt, lte, exists")

    def any_of(self, field: Field, value: object, path: str, name: str = "") -> Filter:
        values = value if isinstance(value, list) else [value]
        if not values or len(values) > MAX_VALUES:
            return self.wrong(path, f"must hold 1 to {MAX_VALUES} values")
        self.count_condition()
        checked = tuple(self.scalar(field, item, path) for item in values)
        if field in DATES:
            moments = [self.moment(item, path) for item in checked]
            ranges: list[Filter] = [Range(field, gte=moment, lte=moment) for moment in moments]
            return ranges[0] if len(ranges) == 1 else Or(tuple(ranges))
        return AnyOf(field, checked, name)

    def scalar(self, field: Field, value: object, path: str) -> Scalar:
        if field is Field.METADATA:
            if isinstance(value, str | int | float | bool):
                return self.whole(value, path)
            self.wrong(path, "must be a string, a number or a boolean, or a list of them")
            return ""
        if not isinstance(value, str):
            self.wrong(path, "must be a string, or a list of strings")
            return ""
        if field is Field.DOCUMENT_ID:
            try:
                return str(UUID(value))
            except ValueError:
                self.wrong(path, "must be a document's id (a UUID)")
        return value

    def whole(self, value: Scalar, path: str) -> Scalar:
        if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
            self.wrong(path, "must fit in 64 bits; send greater numbers as strings")
            return 0
        return value

    def bounds(self, field: Field, bounds: Mapping[str, object], path: str, name: str) -> Filter:
        self.count_condition()
        if field not in DATES and field is not Field.METADATA:
            return self.wrong(path, "cannot be compared; use eq, ne, in, nin or exists")
        checked = {key: self.bound(field, value, f"{path}.{key}") for key, value in bounds.items()}
        kinds = {isinstance(value, datetime) for value in checked.values()}
        if len(kinds) > 1:
            return self.wrong(path, "mixes numbers and times")
        return Range(field, name=name, **checked)

    def bound(self, field: Field, value: object, path: str) -> float | datetime:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and field not in DATES:
            return float(self.whole(value, path))  # type: ignore[arg-type]
        if isinstance(value, str):
            return self.moment(value, path)
        self.wrong(path, "must be a time in ISO 8601" + ("" if field in DATES else " or a number"))
        return 0.0

    def moment(self, value: object, path: str) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
            # Times at the ends of the calendar do not survive the change of time zone.
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.wrong(path, "must be a time in ISO 8601, such as 2026-01-31T12:00:00Z")
            return datetime.now(UTC)


def _below(path: str, name: str) -> str:
    return f"{path}.{name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + '…'}"
