"""From what may be found (tenant, principals, the caller's filter) to Qdrant's filter."""

import sys
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec
from qdrant_client import models

from quarry_common.contracts.filters import (
    And,
    AnyOf,
    Exists,
    Field,
    Filter,
    Not,
    Or,
    Range,
    Scalar,
    collection_limits,
)
from quarry_common.vectors.points import metadata_key

Condition = models.Condition

REMEMBERED: Final = 4096
"""Filters of searches that say nothing besides who asks."""
_EXACT_FLOATS: Final = 2**53
_INT64: Final = range(-(2**63), 2**63)
_NEVER: Final = models.HasIdCondition(has_id=[])


class Scope(msgspec.Struct, frozen=True):
    """What a search may find: of one tenant, what the principals may see and the filter lets through."""

    tenant_id: UUID
    principals: frozenset[str] = frozenset()
    filters: Filter | None = None


def visible(scope: Scope, *more: Condition) -> models.Filter:
    """Return the filter of the active points within `scope` that meet `more`; the tenant is its outermost
    condition."""
    must: list[Condition] = [
        *tenant(scope.tenant_id),
        *more,
        equals("active", 1),
        _permitted(scope.principals),
    ]
    if scope.filters is not None:
        must.append(condition(scope.filters))
    return models.Filter(must=must)


def corpus(scope: Scope) -> models.Filter:
    """Return the filter of the points over which IDF is taken.

    They are the tenant's own; of the collections that the search is limited to, when it is: how rare a word
    is must not depend on what stands in another collection, least of all in one of another language. Whatever
    else the filter says picks among them and does not change what a word is worth. The few points that wait
    to be found or to be deleted count as well: to look for them costs large tenants more than the search.
    """
    must: list[Condition] = [*tenant(scope.tenant_id)]
    must += [condition(limit) for limit in collection_limits(scope.filters)]
    return models.Filter(must=must)


def encoded(chosen: models.Filter) -> msgspec.Raw:
    """Return a filter as Qdrant's JSON."""
    return msgspec.Raw(chosen.model_dump_json(exclude_none=True).encode())


def encoded_visible(scope: Scope) -> msgspec.Raw:
    """Return the filter `visible` as Qdrant's JSON."""
    return (
        _plain_visible(scope.tenant_id, scope.principals)
        if scope.filters is None
        else encoded(visible(scope))
    )


def encoded_corpus(scope: Scope) -> msgspec.Raw:
    """Return the filter `corpus` as Qdrant's JSON."""
    return _plain_corpus(scope.tenant_id) if scope.filters is None else encoded(corpus(scope))


@lru_cache(maxsize=REMEMBERED)
def _plain_visible(tenant_id: UUID, principals: frozenset[str]) -> msgspec.Raw:
    return encoded(visible(Scope(tenant_id, principals)))


@lru_cache(maxsize=REMEMBERED)
def _plain_corpus(tenant_id: UUID) -> msgspec.Raw:
    return encoded(corpus(Scope(tenant_id)))


def tenant(tenant_id: UUID) -> list[Condition]:
    """Return the condition without which nothing is asked of the index."""
    return [equals("tenant_id", str(tenant_id))]


def equals(key: str, value: str | int) -> models.FieldCondition:
    """Return the condition that the field, or one of its values, is `value`."""
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def condition(tree: Filter) -> Condition:  # noqa: PLR0911 - one line per kind
    """Return `tree` as a condition of Qdrant."""
    match tree:
        case AnyOf():
            return _any_of(_key(tree.field, tree.name), tree.values)
        case Range():
            return _range(tree)
        case Exists():
            field = models.PayloadField(key=_key(tree.field, tree.name))
            return models.Filter(must_not=[models.IsEmptyCondition(is_empty=field)])
        case And(()):
            return models.Filter(must_not=[_NEVER])
        case And():
            return models.Filter(must=[condition(part) for part in tree.filters])
        case Or(()):
            return _NEVER
        case Or():
            return models.Filter(should=[condition(part) for part in tree.filters])
        case Not():
            return models.Filter(must_not=[condition(tree.filter)])


def _permitted(principals: frozenset[str]) -> Condition:
    public = equals("restricted", 0)
    if not principals:
        return public
    mine = models.FieldCondition(key="principals", match=models.MatchAny(any=sorted(principals)))
    return models.Filter(should=[public, mine])


def _key(field: Field, name: str) -> str:
    return f'metadata."{metadata_key(name)}"' if field is Field.METADATA else field.value


def _any_of(key: str, values: Sequence[Scalar]) -> Condition:
    texts = sorted({value for value in values if isinstance(value, str)})
    flags = sorted({value for value in values if isinstance(value, bool)})
    numbers = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    parts: list[Condition] = []
    if texts:
        parts.append(models.FieldCondition(key=key, match=models.MatchAny(any=texts)))
    parts += [models.FieldCondition(key=key, match=models.MatchValue(value=flag)) for flag in flags]
    parts += [_number(key, number) for number in sorted(numbers)]
    return parts[0] if len(parts) == 1 else models.Filter(should=parts) if parts else _NEVER


def _number(key: str, number: float) -> Condition:
    # A match takes 64-bit integers only and does not find 5 where 5.0 is stored; a range compares floats,
    # which tell integers below 2**53 apart.
    if isinstance(number, int) and abs(number) >= _EXACT_FLOATS:
        if number in _INT64:
            return equals(key, number)
        if abs(number) > sys.float_info.max:
            return _NEVER
    return models.FieldCondition(key=key, range=models.Range(gte=float(number), lte=float(number)))


def _range(tree: Range) -> Condition:
    bounds = {"gt": tree.gt, "gte": tree.gte, "lt": tree.lt, "lte": tree.lte}
    key = _key(tree.field, tree.name)
    moments = {name: bound for name, bound in bounds.items() if isinstance(bound, datetime)}
    if moments:
        return models.FieldCondition(key=key, range=models.DatetimeRange(**moments))
    numbers = {name: bound for name, bound in bounds.items() if not isinstance(bound, datetime)}
    return models.FieldCondition(key=key, range=models.Range(**numbers))
