"""From Qdrant's JSON filters to the engine library's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import qdrant_edge as edge

from quarry_local.vector_engine.errors import WrongInputError
from quarry_local.vector_engine.shards.edge import call
from quarry_local.vector_engine.wire.base import PointId
from quarry_local.vector_engine.wire.filters import (
    Condition,
    Filter,
    Match,
    MinShould,
    PayloadField,
    Range,
    ValuesCount,
)

MAX_DEPTH = 24
MAX_POINT_ID = 2**64 - 1

_CLAUSES = ("must", "should", "must_not", "min_should")
_FIELD_TESTS = ("match", "range", "values_count", "is_empty", "is_null")
_TEXT_MATCHES: dict[str, Callable[[str], edge.MatchType]] = {
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
}


def edge_filter(source: Filter | None) -> edge.Filter | None:
    """Return `source` as the library takes it; raises `WrongInputError`."""
    return None if source is None else _group(source, 0)


def point_id(value: PointId) -> PointId:
    """Return `value` if it can be a point's id: an unsigned integer or a UUID; raises `WrongInputError`."""
    if isinstance(value, int) and not 0 <= value <= MAX_POINT_ID:
        raise WrongInputError(f"point id {value} is not an unsigned 64-bit integer")
    return value


def _group(source: Filter | Condition, depth: int) -> edge.Filter:
    if depth > MAX_DEPTH:
        raise WrongInputError(f"the filter is nested deeper than {MAX_DEPTH}")
    return edge.Filter(
        must=_conditions(source.must, depth),
        should=_conditions(source.should, depth),
        must_not=_conditions(source.must_not, depth),
        min_should=_min_should(source.min_should, depth),
    )


def _conditions(source: list[Condition] | Condition | None, depth: int) -> list[edge.ConditionType] | None:
    if source is None:
        return None
    if isinstance(source, Condition):
        return [_condition(source, depth)]
    return [_condition(item, depth) for item in source]


def _min_should(source: MinShould | None, depth: int) -> edge.MinShould | None:
    if source is None:
        return None
    if source.min_count < 0:
        raise WrongInputError("min_count must not be negative")
    return edge.MinShould([_condition(item, depth) for item in source.conditions], source.min_count)


def _condition(source: Condition, depth: int) -> edge.ConditionType:  # noqa: PLR0911 - one line per kind
    # Nearly every condition of a search: told apart without looking at each field.
    if source.key is not None and source == Condition(source.key, source.match) and source.match is not None:
        return _field_condition(source, source.key, "match")
    kinds = [name for name in source.__struct_fields__ if getattr(source, name) is not None]
    if kinds and all(name in _CLAUSES for name in kinds):
        return _group(source, depth + 1)
    if source.key is not None and len(kinds) == 2 and kinds[1] in _FIELD_TESTS:
        return _field_condition(source, source.key, kinds[1])
    if len(kinds) == 1:
        if isinstance(source.is_empty, PayloadField):
            return call(edge.IsEmptyCondition, source.is_empty.key)
        if isinstance(source.is_null, PayloadField):
            return call(edge.IsNullCondition, source.is_null.key)
        if source.has_id is not None:
            return call(edge.HasIdCondition, {point_id(item) for item in source.has_id})
        if source.has_vector is not None:
            return edge.HasVectorCondition(source.has_vector)
        if source.nested is not None:
            return call(edge.NestedCondition, source.nested.key, _group(source.nested.filter, depth + 1))
    raise WrongInputError(
        f"a filter condition with {' and '.join(kinds) or 'no field'} is not understood: it needs `key` and "
        f"one of {', '.join(_FIELD_TESTS)}, or one of has_id, has_vector, is_empty, is_null, nested, "
        f"or {', '.join(_CLAUSES)}"
    )


def _field_condition(source: Condition, key: str, kind: str) -> edge.ConditionType:
    if (match := source.match) is not None:
        return call(lambda: edge.FieldCondition(key, match=_match(match)))
    if (bounds := source.range) is not None:
        return call(lambda: edge.FieldCondition(key, range=_range(bounds)))
    if (values_count := source.values_count) is not None:
        return call(lambda: edge.FieldCondition(key, values_count=_values_count(values_count)))
    if isinstance(source.is_empty, bool):
        return _negated_unless(source.is_empty, call(edge.IsEmptyCondition, key))
    if isinstance(source.is_null, bool):
        return _negated_unless(source.is_null, call(edge.IsNullCondition, key))
    raise WrongInputError(f"the condition on `{key}` has a `{kind}` of the wrong shape: it must be a boolean")


def _negated_unless(wanted: bool, condition: edge.ConditionType) -> edge.ConditionType:
    return condition if wanted else edge.Filter(must_not=[condition])


def _match(source: Match) -> edge.MatchType:
    if isinstance(source.value, str) and source == Match(source.value):
        return edge.MatchValue(source.value)
    kinds = [name for name in source.__struct_fields__ if getattr(source, name) is not None]
    if len(kinds) != 1:
        raise WrongInputError(
            "`match` needs exactly one of value, any, except, text, text_any, phrase, prefix, substring"
        )
    if isinstance(source.value, bool):
        # The library reads a Python bool as an integer, which matches nothing; it reads numpy's as a boolean.
        return edge.MatchValue(np.bool_(source.value))  # type: ignore[arg-type]
    if source.value is not None:
        return edge.MatchValue(source.value)
    if source.any is not None:
        return edge.MatchAny(_same_type(source.any))
    if source.except_ is not None:
        return edge.MatchExcept(_same_type(source.except_))
    return _TEXT_MATCHES[kinds[0]](getattr(source, kinds[0]))


def _same_type(values: list[int | str]) -> list[str] | list[int]:
    texts = [item for item in values if isinstance(item, str)]
    if len(texts) == len(values):
        return texts
    if texts:
        raise WrongInputError("the values of a match must be all strings or all integers")
    return [item for item in values if isinstance(item, int)]


def _range(source: Range) -> edge.RangeType:
    bounds = {name: getattr(source, name) for name in ("lt", "gt", "lte", "gte")}
    given = [bound for bound in bounds.values() if bound is not None]
    if all(isinstance(bound, str) for bound in given):
        return edge.RangeDateTime(**bounds) if given else edge.RangeFloat()
    if any(isinstance(bound, str) for bound in given):
        raise WrongInputError("the bounds of a range must be all numbers or all times")
    return edge.RangeFloat(**bounds)


def _values_count(source: ValuesCount) -> edge.ValuesCount:
    return edge.ValuesCount(lt=source.lt, gt=source.gt, lte=source.lte, gte=source.gte)
