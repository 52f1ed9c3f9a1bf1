"""Tables as CSV and as lines of JSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


class TableFormat(StrEnum):
    """In which form to answer what may be long."""

    CSV = "csv"
    NDJSON = "ndjson"


def csv_header(kind: type[msgspec.Struct]) -> str:
    """Return the first line of a table (RFC 4180)."""
    return _csv([kind.__struct_fields__])


def as_csv(rows: Iterable[msgspec.Struct]) -> str:
    """Return lines of CSV. A text that a spreadsheet would take for a formula gets an apostrophe before
    it."""
    return _csv([[_safe(value) for value in msgspec.structs.astuple(row)] for row in rows])


def as_ndjson(rows: Iterable[msgspec.Struct]) -> str:
    """Return a line of JSON for each."""
    return "".join(f"{msgspec.json.encode(row).decode()}\n" for row in rows)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _safe(value: object) -> object:
    told = msgspec.to_builtins(value)
    return f"'{told}" if isinstance(told, str) and told.startswith(_FORMULAS) else told
