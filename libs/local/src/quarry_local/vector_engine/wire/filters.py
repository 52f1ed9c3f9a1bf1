"""Filters. Qdrant tells conditions apart by the fields they have, so one struct here holds every kind;
`quarry_local.vector_engine.shards.filters` checks that exactly one was meant.
"""

from __future__ import annotations

from msgspec import field

from quarry_local.vector_engine.wire.base import PointId, Wire


class Match(Wire, frozen=True):
    """Exactly one way to compare a payload value."""

    value: bool | int | str | None = None
    any: list[int | str] | None = None
    except_: list[int | str] | None = field(default=None, name="except")
    text: str | None = None
    text_any: str | None = None
    phrase: str | None = None
    prefix: str | None = None
    substring: str | None = None


class Range(Wire, frozen=True):
    """Bounds: all numbers, or all RFC 3339 times."""

    lt: float | str | None = None
    gt: float | str | None = None
    lte: float | str | None = None
    gte: float | str | None = None


class ValuesCount(Wire, frozen=True):
    """Bounds on how many values a payload field holds."""

    lt: int | None = None
    gt: int | None = None
    lte: int | None = None
    gte: int | None = None


class PayloadField(Wire, frozen=True):
    """Names a payload field."""

    key: str


class Nested(Wire, frozen=True):
    """A filter that one element of an array of objects must satisfy."""

    key: str
    filter: Filter


class MinShould(Wire, frozen=True):
    """At least `min_count` of the conditions."""

    conditions: list[Condition]
    min_count: int


class Filter(Wire, frozen=True):
    """Conditions that must all hold, of which one must hold, and that must not hold."""

    must: list[Condition] | Condition | None = None
    should: list[Condition] | Condition | None = None
    must_not: list[Condition] | Condition | None = None
    min_should: MinShould | None = None


class Condition(Wire, frozen=True):
    """A condition of any kind, or a nested filter."""

    key: str | None = None
    match: Match | None = None
    range: Range | None = None
    values_count: ValuesCount | None = None
    is_empty: bool | PayloadField | None = None
    is_null: bool | PayloadField | None = None
    has_id: list[PointId] | None = None
    has_vector: str | None = None
    nested: Nested | None = None
    must: list[Condition] | Condition | None = None
    should: list[Condition] | Condition | None = None
    must_not: list[Condition] | Condition | None = None
    min_should: MinShould | None = None
