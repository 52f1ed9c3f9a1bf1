"""`quarry search`."""

import html
import re

import click
from rich.text import Text

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import console, heading, plain, print_json
from quarry_client.cli.values import parse_filter
from quarry_client.client import Client
from quarry_client.types import MODES, SEARCH_SORTS, Answer, Mode, Place, Result, SearchSort

_PASSAGE_LENGTH = 500


@click.command()
@click.argument("query")
@click.option("--mode", type=click.Choice(MODES), default="hybrid", show_default=True)
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True)
@click.option("--collection", "collections", multiple=True, help="Search only here; may be repeated.")
@click.option("--filter", "filter_json", metavar="JSON", help='A filter, such as {"tags": ["law"]}.')
@click.option("--group", is_flag=True, help="One passage per document: its best.")
@click.option("--highlight", is_flag=True, help="Show the excerpts that matched.")
@click.option("--facet", "facets", multiple=True, help="Count the values of a field, such as tags.")
@click.option("--sort", type=click.Choice(SEARCH_SORTS), help="Sort what was found.")
@click.option("--min-score", type=float, help="Leave out what scores less.")
@click.option("--explain", is_flag=True, help="Tell where each result stood in each list.")
@click.option("--rerank/--no-rerank", default=None, help="Let the reranker order the best results, or not.")
@click.option("--cursor", help="Go on after an earlier answer (its next_cursor).")
@json_option
@with_client()
def search(
    client: Client,
    query: str,
    mode: Mode,
    limit: int,
    collections: tuple[str, ...],
    filter_json: str | None,
    group: bool,
    highlight: bool,
    facets: tuple[str, ...],
    sort: SearchSort | None,
    min_score: float | None,
    explain: bool,
    rerank: bool | None,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Find passages, best first, with where they stand."""
    answer = client.search(
        query,
        mode=mode,
        limit=limit,
        cursor=cursor,
        filters=parse_filter(filter_json, collections),
        group_by_document=group,
        highlight=highlight,
        facets=facets,
        sort=sort,
        min_score=min_score,
        explain=explain,
        rerank=rerank,
    )
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _show(answer: Answer) -> None:
    screen = console()
    for rank, result in enumerate(answer.results, start=1):
        screen.print(_heading(rank, result), soft_wrap=True)
        screen.print(_passage(result))
        screen.print(Text(plain(_source(result)), style="dim"), soft_wrap=True)
        if result.explanation:
            screen.print(Text(_places(result.explanation), style="dim"), soft_wrap=True)
        screen.print()
    if not answer.results:
        click.echo("Nothing was found.")
        return
    for name, counts in answer.facets.items():
        values = ", ".join(f"{count.value} ({count.count})" for count in counts)
        click.echo(f"{plain(name)}: {plain(values) or '-'}")
    if answer.rerank == "failed":
        click.echo("The reranker did not answer: the order is that of the two legs.")
    total = answer.timings_ms.get("total")
    took = f", {total:.0f} ms" if total is not None else ""
    click.echo(f"{len(answer.results)} of {answer.total} passages, {answer.mode}{took}")
    if answer.next_cursor:
        click.echo(f"More: --cursor {plain(answer.next_cursor)}")


def _heading(rank: int, result: Result) -> Text:
    place = [*result.heading_path, *([f"page {result.page}"] if result.page is not None else [])]
    line = Text(f"{rank:>2}. ")
    line.append(f"{result.score:.4f}  ", style="cyan")
    line.append(plain(result.title or result.external_id or str(result.document_id)), style="bold")
    if place:
        line.append(plain("  " + heading(place)), style="green")
    return line


def _passage(result: Result) -> Text:
    if result.highlights:
        return Text("\n").join(_marked(excerpt) for excerpt in result.highlights)
    text = " ".join(result.text.split())
    return Text(plain(text if len(text) <= _PASSAGE_LENGTH else text[: _PASSAGE_LENGTH - 1] + "…"))


def _marked(excerpt: str) -> Text:
    """Turn `<mark>` into bold; everything else in an excerpt is HTML-escaped."""
    line = Text()
    for number, part in enumerate(re.split(r"</?mark>", excerpt)):
        line.append(
            plain(" ".join(html.unescape(part).split("\n"))), style="bold yellow" if number % 2 else ""
        )
    return line


def _places(explanation: dict[str, Place]) -> str:
    return ", ".join(f"{name} #{place.rank} ({place.score:.4f})" for name, place in explanation.items())


def _source(result: Result) -> str:
    name = result.source_url or result.external_id or str(result.document_id)
    return f"{result.collection}: {name}"
