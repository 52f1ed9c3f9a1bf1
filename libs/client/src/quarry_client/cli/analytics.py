"""`quarry analytics`."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import click

from quarry_client.calls.analytics import SearchRange
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import amount, print_fields, print_json, print_table, tell, whole
from quarry_client.client import Client
from quarry_client.types import MODES, TABLES, Mode, QueryFigures, SearchFigures, TableName

F = TypeVar("F", bound=Callable[..., object])
RANKINGS = ("popular", "no-results", "low-confidence")


def range_options(command: F) -> F:
    """Add what chooses searches."""
    for option in (
        click.option("--mode", type=click.Choice(MODES), help="Only searches in this mode."),
        click.option("--collection", help="Only searches that were limited to it."),
        click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True),
    ):
        command = option(command)
    return command


def chosen(days: int, collection: str | None, mode: Mode | None) -> SearchRange:
    """Return what was chosen, without what was not."""
    found: SearchRange = {"days": days}
    if collection is not None:
        found["collection"] = collection
    if mode is not None:
        found["mode"] = mode
    return found


@click.group()
def analytics() -> None:
    """Show what is searched, and where search fails."""


@analytics.command("queries")
@click.option("--by", type=click.Choice(RANKINGS), default="popular", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@range_options
@json_option
@with_client()
def queries(
    client: Client,
    by: Literal["popular", "no-results", "low-confidence"],
    limit: int,
    days: int,
    collection: str | None,
    mode: Mode | None,
    as_json: bool,
) -> None:
    """List the queries that are searched most, or that find nothing, or nothing good."""
    ask = {
        "popular": client.popular_queries,
        "no-results": client.queries_without_results,
        "low-confidence": client.queries_of_low_confidence,
    }[by]
    found = ask(limit, **chosen(days, collection, mode))
    if as_json:
        print_json(found)
        return
    _print_queries(found.queries)


@analytics.command("trending")
@click.option("--hours", type=click.IntRange(1, 168), default=24, show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@json_option
@with_client()
def trending(client: Client, hours: int, limit: int, as_json: bool) -> None:
    """List the queries that are searched more than in the same hours of the weeks before."""
    found = client.trending_queries(hours=hours, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = (
        (each.query, each.observed, f"{each.expected:.1f}", f"{each.score:.1f}", each.clients)
        for each in found.trends
    )
    columns = ("query", amount("searches"), amount("expected"), amount("score"), amount("clients"))
    print_table(columns, rows, empty=f"Nothing stands out among {found.examined} queries.")


@analytics.command("stats")
@range_options
@json_option
@with_client()
def stats(client: Client, days: int, collection: str | None, mode: Mode | None, as_json: bool) -> None:
    """Show what all searches come to."""
    found = client.search_stats(**chosen(days, collection, mode))
    if as_json:
        print_json(found)
        return
    print_fields([*_fields(found.figures), ("not recorded", found.dropped), ("as of", found.refreshed_at)])


@analytics.command("timeseries")
@click.option("--interval-hours", type=click.IntRange(1, 720), default=24, show_default=True)
@click.option("--tz", default="UTC", show_default=True, help="Whose days they are, such as Europe/Berlin.")
@range_options
@json_option
@with_client()
def timeseries(
    client: Client,
    interval_hours: int,
    tz: str,
    days: int,
    collection: str | None,
    mode: Mode | None,
    as_json: bool,
) -> None:
    """Show each interval."""
    found = client.search_timeseries(interval_hours=interval_hours, tz=tz, **chosen(days, collection, mode))
    if as_json:
        print_json(found)
        return
    rows = (
        (
            each.start,
            each.figures.total_searches,
            each.figures.unique_queries,
            _percent(each.figures.no_result_rate),
            _time(each.figures.p95_execution_time_ms),
            "partial" if each.partial else "",
        )
        for each in found.buckets
    )
    columns = (
        whole("from"), amount("searches"), amount("queries"), amount("no results"), amount("p95"), "",
    )  # fmt: skip
    print_table(columns, rows, empty="There are no such intervals.")


@analytics.command("user")
@click.argument("user_id")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@range_options
@json_option
@with_client()
def user(
    client: Client,
    user_id: str,
    limit: int,
    days: int,
    collection: str | None,
    mode: Mode | None,
    as_json: bool,
) -> None:
    """Show what one user searches."""
    found = client.searches_of_user(user_id, limit, **chosen(days, collection, mode))
    if as_json:
        print_json(found)
        return
    print_fields([*_fields(found.figures), ("first", found.first_seen), ("last", found.last_seen)])
    _print_queries(found.queries)


@analytics.command("forget-user")
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_client()
def forget_user(client: Client, user_id: str, yes: bool, as_json: bool) -> None:
    """Delete what is known of a user, for good."""
    if not yes:
        click.confirm(f"Delete all searches and clicks of {user_id}, for good?", abort=True, err=True)
    done = client.forget_user(user_id)
    tell(done, f"Deleted {done.searches} searches and {done.interactions} clicks.", as_json=as_json)


@analytics.command("export")
@click.option("--format", "format_name", type=click.Choice(TABLES), default="csv", show_default=True)
@range_options
@with_client()
def export(
    client: Client, format_name: TableName, days: int, collection: str | None, mode: Mode | None
) -> None:
    """Write every recorded search, oldest first."""
    for piece in client.export_searches(format_name, **chosen(days, collection, mode)):
        click.echo(piece.encode(), nl=False)  # bytes keep their line ends on every system


def _print_queries(found: Sequence[QueryFigures]) -> None:
    rows = (
        (
            each.query,
            each.count,
            each.users,
            each.no_results,
            _percent(each.click_through_rate),
            _time(each.avg_execution_time_ms),
        )
        for each in found
    )
    columns = (
        "query", amount("searches"), amount("users"), amount("no results"), amount("clicked"), amount("time"),
    )  # fmt: skip
    print_table(columns, rows, empty="Nothing was searched.")


def _fields(figures: SearchFigures) -> list[tuple[str, object]]:
    return [
        ("searches", figures.total_searches),
        ("queries", figures.unique_queries),
        ("users", figures.unique_users),
        ("without results", _percent(figures.no_result_rate)),
        ("low confidence", _percent(figures.low_confidence_rate)),
        ("from the cache", _percent(figures.cache_hit_rate)),
        ("clicked", _percent(figures.click_through_rate)),
        ("p50, p95, p99", ", ".join(
            _time(each) for each in (
                figures.p50_execution_time_ms, figures.p95_execution_time_ms, figures.p99_execution_time_ms,
            )
        )),
    ]  # fmt: skip


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"


def _time(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.1f} ms"
