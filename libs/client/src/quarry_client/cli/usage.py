"""`quarry usage`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Final, Literal

import click
import msgspec

from quarry_client.answers import WRONG_SERVER_ADVICE
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import amount, megabytes, print_json, print_table, whole
from quarry_client.client import Client
from quarry_client.errors import UnreadableAnswerError
from quarry_client.types import USAGE_FORMATS, UsageDay, UsageFormatName, Used

DAYS: Final = click.DateTime(["%Y-%m-%d"])
COLUMNS: Final = (
    "documents added", "MB added", "chunks", "tokens", "searches", "documents", "MB stored"
)  # fmt: skip


class TenantDay(UsageDay, frozen=True):
    """A line of what every tenant used."""

    tenant: str


class Total(Used, frozen=True):
    """What a tenant used on some days together."""

    tenant: str


@click.command()
@click.option("--first", type=DAYS, help="First day (UTC); thirty days in all when it is not given.")
@click.option("--last", type=DAYS, help="Last day (UTC); today when it is not given.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(("table", *USAGE_FORMATS)),
    default="table",
    show_default=True,
    help="A table for people; the others, for billing, have every day of every tenant.",
)
@click.option("--all", "everybody", is_flag=True, help="Every tenant's (with the operator's key).")
@json_option
@with_client(operator_if="everybody")
def usage(
    client: Client,
    first: datetime | None,
    last: datetime | None,
    format_name: Literal["table"] | UsageFormatName,
    everybody: bool,
    as_json: bool,
) -> None:
    """Show what the tenant used on each day; with --all, what each tenant used on those days together."""
    begin, end = first and first.date(), last and last.date()
    if format_name != "table":
        if as_json:
            raise click.UsageError("--json and --format exclude each other.")
        _export(client, format_name, begin, end, everybody=everybody)
    elif everybody:
        _show_all(client, begin, end, as_json=as_json)
    else:
        _show_own(client, begin, end, as_json=as_json)


def _export(
    client: Client, format_name: UsageFormatName, first: date | None, last: date | None, *, everybody: bool
) -> None:
    pieces: Iterable[str] = (
        client.export_all_usage(format_name, first=first, last=last)
        if everybody
        else [client.export_usage(format_name, first=first, last=last)]
    )
    for piece in pieces:
        click.echo(piece.encode(), nl=False)  # bytes keep their line ends on every system


def _show_own(client: Client, first: date | None, last: date | None, *, as_json: bool) -> None:
    used = client.usage(first=first, last=last)
    if as_json:
        print_json(used)
        return
    rows = [(each.day, *_figures(each)) for each in used.days]
    if used.days:
        rows.append(("together", *_figures(_total(used.tenant, used.days))))
    print_table((whole("day"), *map(amount, COLUMNS)), rows, empty="There are no such days.")


def _show_all(client: Client, first: date | None, last: date | None, *, as_json: bool) -> None:
    lines = _lines(client.export_all_usage("ndjson", first=first, last=last))
    by_tenant = groupby(map(_read, lines), key=lambda line: line.tenant)
    totals = [_total(tenant, list(days)) for tenant, days in by_tenant]
    if as_json:
        print_json({"tenants": totals})
        return
    rows = ((total.tenant, *_figures(total)) for total in totals)
    print_table((whole("tenant"), *map(amount, COLUMNS)), rows, empty="There are no tenants.")


def _figures(used: Used) -> tuple[object, ...]:
    return (
        used.documents_added,
        megabytes(used.bytes_added),
        used.chunks,
        used.tokens,
        used.searches,
        used.documents,
        megabytes(used.storage_bytes),
    )


def _total(tenant: str, days: Sequence[UsageDay]) -> Total:
    return Total(
        tenant=tenant,
        documents_added=sum(day.documents_added for day in days),
        bytes_added=sum(day.bytes_added for day in days),
        chunks=sum(day.chunks for day in days),
        tokens=sum(day.tokens for day in days),
        searches=sum(day.searches for day in days),
        documents=days[-1].documents,
        storage_bytes=days[-1].storage_bytes,
    )


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text that comes in pieces."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines
    if rest:
        yield rest


def _read(line: str) -> TenantDay:
    try:
        return msgspec.json.decode(line, type=TenantDay)
    except msgspec.DecodeError as error:
        raise UnreadableAnswerError(
            f"A line of usage is not readable: {error}.", WRONG_SERVER_ADVICE
        ) from error
