"""What commands print: tables for people, JSON for machines."""

import math
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

_CONTROL = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_PIPE_WIDTH = 200


def plain(text: str) -> str:
    """Return `text` without what would steer the terminal: documents are written by anybody."""
    return text.encode("utf-8", "replace").decode().translate(_CONTROL)


def console() -> Console:
    """Return where tables go; wide when nobody's window limits it."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def notices() -> Console:
    """Return where progress and remarks go, so that the output itself stays clean."""
    return Console(file=sys.stderr, highlight=False)


def print_json(value: object, *, compact: bool = False) -> None:
    """Print `value` as indented JSON, or `compact` on one line."""
    encoded = msgspec.json.encode(value)
    click.echo((encoded if compact else msgspec.json.format(encoded, indent=2)).decode())


def tell(value: object, sentence: str, *, as_json: bool) -> None:
    """Print what became of something: a sentence for people, the thing itself for machines."""
    if as_json:
        print_json(value)
    else:
        click.echo(sentence)


def show_secret(text: str, secret_id: UUID, remark: str = "") -> None:
    """Print a new key alone on the output, and beside it that this is the only time."""
    click.echo(text)
    click.echo(
        f"Keep this key now: it is not shown again. Its id is {secret_id}. {remark}".rstrip(), err=True
    )


def whole(name: str) -> Column:
    """Return a column whose values are not broken where the table is narrow, such as ids to be copied."""
    return Column(name, no_wrap=True)


def amount(name: str) -> Column:
    """Return a column of numbers."""
    return Column(name, justify="right", no_wrap=True)


def print_table(columns: Sequence[str | Column], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table, or the sentence `empty` when there are no rows."""
    table = Table(
        *(Column(each, overflow="fold") if isinstance(each, str) else each for each in columns),
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    if table.row_count:
        console().print(table)
    else:
        click.echo(empty)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in fields:
        table.add_row(Text(name, style="bold"), cell(value))
    console().print(table)


def cell(value: object) -> Text:
    """Return a value as a person reads it."""
    if isinstance(value, Text):
        return value
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M:%S}")
    if isinstance(value, (list, tuple)):
        return Text(plain(", ".join(map(str, value))) or "-")
    return Text(plain(str(value)))


def megabytes(size_bytes: int) -> str:
    """Return a size in MB of 2^20 bytes, as quotas count them."""
    return f"{size_bytes / 2**20:.1f}"


def duration(seconds: float) -> str:
    """Return a time as a person reads it: seconds, or minutes, or hours and minutes, rounded up."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def heading(path: Sequence[str]) -> str:
    """Return a path of headings as a person reads it."""
    return " › ".join(path)  # noqa: RUF001 - the usual sign of a path
