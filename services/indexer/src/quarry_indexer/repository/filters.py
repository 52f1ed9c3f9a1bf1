"""The filter language as conditions of SQL, over a document `d` and its version `v`.

A condition is true or false, never unknown, so that `not` means what it says.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from quarry_common.contracts.filters import And, AnyOf, Exists, Field, Filter, Not, Or, Range

_COLUMNS = {
    Field.DOC_TYPE: "v.doc_type",
    Field.COLLECTION: "d.collection",
    Field.DOCUMENT_ID: "d.id::text",
    Field.EXTERNAL_ID: "d.external_id",
    Field.SOURCE_URL: "v.source_url",
    Field.CREATED_AT: "d.created_at",
    Field.UPDATED_AT: "d.updated_at",
}
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def condition(tree: Filter, values: list[Any]) -> str:
    """Return `tree` as a condition and append its parameters to `values`."""
    match tree:
        case AnyOf():
            return _any_of(tree, values)
        case Range():
            return _range(tree, values)
        case Exists():
            return _exists(tree, values)
        case And(filters):
            return "(" + (" AND ".join(condition(part, values) for part in filters) or "true") + ")"
        case Or(filters):
            return "(" + (" OR ".join(condition(part, values) for part in filters) or "false") + ")"
        case Not(inner):
            return f"(NOT {condition(inner, values)})"


def _any_of(tree: AnyOf, values: list[Any]) -> str:
    if tree.field is Field.METADATA:
        name = _entry(tree.name, values)
        known = _parameter(msgspec.json.encode({"known": tree.values}).decode(), values, "jsonb")
        # A path wraps a scalar as a list of one, and compares numbers as numbers.
        return f"coalesce(jsonb_path_exists({name}, '$[*] ? (@ == $known[*])', {known}), false)"
    wanted = _parameter([str(value) for value in tree.values], values, "text[]")
    if tree.field is Field.TAGS:
        return f"(v.tags && {wanted})"
    return f"coalesce({_COLUMNS[tree.field]} = ANY({wanted}), false)"


def _exists(tree: Exists, values: list[Any]) -> str:
    if tree.field is Field.METADATA:
        name = _entry(tree.name, values)
        return f"(coalesce({name}, 'null') NOT IN ('null', '[]'))"
    if tree.field is Field.TAGS:
        return "(cardinality(v.tags) > 0)"
    return f"({_COLUMNS[tree.field]} IS NOT NULL)"


def _range(tree: Range, values: list[Any]) -> str:
    given = {name: getattr(tree, name) for name in _OPERATORS}
    bounds = {name: bound for name, bound in given.items() if bound is not None}
    if tree.field is not Field.METADATA:
        return f"({_compared(_COLUMNS[tree.field], bounds, values)})"
    name = _entry(tree.name, values)
    if any(isinstance(bound, datetime) for bound in bounds.values()):
        compared = _compared("moment(e #>> '{}')", bounds, values)
        texts = f"""jsonb_path_query({name}, '$[*] ? (@.type() == "string")')"""
        return f"EXISTS (SELECT 1 FROM {texts} e WHERE {compared})"  # noqa: S608 - constants
    compared = " && ".join(f"@ {_OPERATORS[bound]} ${bound}" for bound in bounds)
    numbers = _parameter(msgspec.json.encode(bounds).decode(), values, "jsonb")
    path = f"""'$[*] ? (@.type() == "number" && {compared})'"""
    return f"coalesce(jsonb_path_exists({name}, {path}, {numbers}), false)"


def _compared(expression: str, bounds: Mapping[str, object], values: list[Any]) -> str:
    return " AND ".join(
        f"{expression} {_OPERATORS[name]} {_parameter(bound, values, 'timestamptz')}"
        for name, bound in bounds.items()
    )


def _entry(name: str, values: list[Any]) -> str:
    return f"(v.metadata -> {_parameter(name, values, 'text')})"


def _parameter(value: object, values: list[Any], kind: str) -> str:
    values.append(value)
    return f"${len(values)}::{kind}"
