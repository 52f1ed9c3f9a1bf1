"""The commands that read and change, and how they tell what they found."""

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from uuid import uuid4

import click
import pytest
from click.testing import Result
from libs.client.tests.http_server import Received, Reply, Server, problem
from libs.client.tests.platform import NOW, result

from quarry_client import cli
from quarry_client.cli.output import plain
from quarry_client.cli.values import parse_filter, parse_metadata

Quarry = Callable[..., Result]
ID = str(uuid4())
DOCUMENT = {
    "id": ID,
    "collection": "law",
    "external_id": "a/b.md",
    "title": "T",
    "status": "searchable",
    "chunk_count": 7,
    "created_at": NOW,
    "updated_at": NOW,
    "tags": ["x", "y"],
}
JOB = {
    "id": ID,
    "document_id": ID,
    "title": "T",
    "state": "failed",
    "created_at": NOW,
    "chunks_done": 3,
    "error": {
        "code": "encrypted",
        "detail": "It asks for a password.",
        "advice": "Remove it.",
        "status": 422,
    },
}
COLLECTION = {"id": ID, "name": "law", "created_at": NOW, "document_count": 12, "chunk_count": 99}


def answered(*results: dict[str, object], **more: object) -> Reply:
    answer = {"query_id": ID, "mode": "hybrid", "query": "x", "total": len(results), "results": list(results)}
    return Reply(200, answer | {"timings_ms": {"total": 12.3}} | more)


def test_a_search_shows_rank_score_place_passage_and_source(quarry: Quarry, served: Server) -> None:
    first = result(
        "a.pdf", title="Guide", heading_path=["One", "Two"], page=4, text="The\npassage.", score=0.5
    )
    served.answer = lambda _: answered(first, result("b.md", source_url="https://x/b"), next_cursor="c2")
    shown = quarry("search", "x").stdout
    assert " 1. 0.5000  Guide  One › Two › page 4" in shown  # noqa: RUF001
    assert "The passage." in shown
    assert "default: a.pdf" in shown
    assert "default: https://x/b" in shown
    assert "2 of 2 passages, hybrid, 12 ms" in shown
    assert "--cursor c2" in shown


def test_a_search_sends_its_options(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: answered()
    options = ("--mode", "keyword", "--limit", "3", "--group", "--highlight", "--collection", "law")
    quarry("search", "x", *options, "--filter", '{"tags": ["a"]}', "--tenant", "acme")
    request = served.received[0]
    assert request.headers["x-tenant"] == "acme"
    assert request.json() == {
        "query": "x",
        "mode": "keyword",
        "limit": 3,
        "filters": {"and": [{"tags": ["a"]}, {"collection": ["law"]}]},
        "group_by_document": True,
        "highlight": True,
    }


def test_a_search_shows_facets_and_places(quarry: Quarry, served: Server) -> None:
    places = {"dense": {"rank": 2, "score": 0.5}, "fused": {"rank": 1, "score": 1.0}}
    facets = {"tags": [{"value": "law", "count": 2}, {"value": "tax", "count": 1}]}
    served.answer = lambda _: answered(result("a", explanation=places), facets=facets, rerank="failed")

    options = ("--facet", "tags", "--sort", "-title", "--min-score", "0.2", "--explain", "--rerank")
    shown = quarry("search", "x", *options).stdout

    sent = served.received[0].json()
    assert (sent["facets"], sent["sort"], sent["min_score"], sent["rerank"]) == (
        ["tags"],
        "-title",
        0.2,
        True,
    )
    assert "dense #2 (0.5000), fused #1 (1.0000)" in shown
    assert "tags: law (2), tax (1)" in shown
    assert "The reranker did not answer" in shown


def test_highlights_are_shown_without_markup(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: answered(result("a", highlights=["a <mark>b</mark> &lt;c&gt; &amp; d"]))
    assert "a b <c> & d" in quarry("search", "b").stdout


def test_nothing_in_a_document_steers_the_terminal(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: answered(
        result("a", title="[bold]T[/bold] \x1b[31m", text="x \x1b]0;owned\x07 \x9b2J")
    )
    shown = quarry("search", "b").stdout
    assert "[bold]T[/bold]" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert plain("a\tb\nc\x00\ud800") == "a\tb\nc\ufffd?"


def test_a_search_as_json_is_the_answer_itself(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: answered(result("a"))
    told = json.loads(quarry("search", "x", "--json").stdout)
    assert told["results"][0]["external_id"] == "a"
    assert told["query_id"] == ID


@pytest.mark.parametrize("wrong", ["{", "[]", '"x"', "3"])
def test_a_filter_that_is_no_json_object_is_a_usage_error(quarry: Quarry, served: Server, wrong: str) -> None:
    told = quarry("search", "x", "--filter", wrong)
    assert told.exit_code == 2
    assert "--filter" in told.stderr
    assert not served.received


def test_the_fields_of_a_validation_problem_are_listed(quarry: Quarry, served: Server) -> None:
    wrong = [{"field": "filters.year", "message": "is not known"}]
    refused = problem(
        422, "validation_failed", "The filter is not valid.", advice="Correct it.", errors=wrong
    )
    served.answer = lambda _: refused
    told = quarry("search", "x", "--filter", '{"year": 3}')
    assert told.exit_code == 1
    assert told.stderr.splitlines() == [
        "Error: The filter is not valid. (validation_failed)",
        "  filters.year: is not known",
        "  Request id: req-1",
        "Correct it.",
    ]


def test_something_else_at_the_address_is_told(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, b"<html>It works!</html>", {"Content-Type": "text/html"})
    told = quarry("jobs", "list")
    assert told.exit_code == 1
    assert "is not readable" in told.stderr
    assert "Check that the URL" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "path", "reply", "shown"),
    [
        (("documents", "list"), "/api/documents", {"documents": [DOCUMENT]}, ("a/b.md", "searchable", "7")),
        (("documents", "get", ID), f"/api/documents/{ID}", DOCUMENT, ("x, y", "2026-01-02 03:04:05")),
        (("jobs", "list"), "/api/jobs", {"jobs": [JOB]}, ("failed", "3/?", "encrypted")),
        (("jobs", "show", ID), f"/api/jobs/{ID}", JOB, ("It asks for a password.", "Remove it.")),
        (("collections", "list"), "/api/collections", {"collections": [COLLECTION]}, ("law", "12", "99")),
    ],
)
def test_reading_commands_show_a_table_or_json(
    quarry: Quarry,
    served: Server,
    arguments: tuple[str, ...],
    path: str,
    reply: dict[str, object],
    shown: tuple[str, ...],
) -> None:
    served.answer = lambda _: Reply(200, reply)

    table = quarry(*arguments)
    as_json = quarry(*arguments, "--json")

    assert (table.exit_code, as_json.exit_code) == (0, 0)
    assert served.paths("GET") == [path, path]
    assert all(text in table.stdout for text in shown)
    assert ID in json.dumps(json.loads(as_json.stdout))


def test_a_long_list_is_read_page_by_page_up_to_the_limit(quarry: Quarry, served: Server) -> None:
    def page(request: Received) -> Reply:
        start = int(request.query.get("cursor", "0"))
        size = int(request.query["limit"])
        jobs = [JOB | {"id": str(uuid4())} for _ in range(size)]
        return Reply(200, {"jobs": jobs, "next_cursor": str(start + size)})

    served.answer = page
    told = quarry("jobs", "list", "--limit", "230", "--state", "failed", "--json")
    assert len(json.loads(told.stdout)["jobs"]) == 230
    assert [request.query["limit"] for request in served.received] == ["100", "100", "30"]
    assert {request.query["state"] for request in served.received} == {"failed"}


def test_several_documents_are_deleted_at_once(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(204, b"")
    other = str(uuid4())
    assert quarry("documents", "delete", ID, other).stdout == f"Deleted {ID}.\nDeleted {other}.\n"
    assert served.paths("DELETE") == [f"/api/documents/{ID}", f"/api/documents/{other}"]
    assert quarry("documents", "delete", "not-an-id").exit_code == 2


def test_a_collection_is_deleted_only_when_confirmed(quarry: Quarry, served: Server) -> None:
    served.answer = lambda request: Reply(200, COLLECTION if request.method == "GET" else {})
    refused = quarry("collections", "delete", "law", stdin="n\n")
    assert refused.exit_code == 1
    assert "with its 12 documents" in refused.output
    assert not served.paths("DELETE")
    assert quarry("collections", "delete", "law", "--yes").exit_code == 0
    assert served.paths("DELETE") == ["/api/collections/law"]


def test_a_collection_is_made(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, COLLECTION)
    assert quarry("collections", "create", "law").stdout == "Created the collection law.\n"
    assert [request.json() for request in served.received] == [{"name": "law"}]


def test_metadata_values_are_numbers_truths_or_text() -> None:
    pairs = ["n=3", "f=1.5", "t=true", "none=null", 's="3"', "text=a=b", "empty=", "list=[1]", "nan=NaN"]
    assert parse_metadata(pairs) == {
        "n": 3,
        "f": 1.5,
        "t": True,
        "none": None,
        "s": "3",
        "text": "a=b",
        "empty": "",
        "list": "[1]",
        "nan": "NaN",
    }
    for wrong in ("x", "=3"):
        with pytest.raises(click.BadParameter, match="not of the form"):
            parse_metadata([wrong])


def test_collections_narrow_a_filter() -> None:
    assert parse_filter(None) is None
    assert parse_filter(None, ["a"]) == {"collection": ["a"]}
    assert parse_filter("{}", ["a"]) == {"collection": ["a"]}


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=cli.ENTRY_POINT_GROUP)


@click.command()
def offered() -> None:
    """Say that it ran."""
    click.echo("ran")


def test_commands_of_other_packages_join_and_load_when_used(
    quarry: Quarry, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    class Loading(EntryPoint):
        def load(self) -> click.Command:
            loaded.append(self.name)
            return offered

    # What is installed is the machine's; how it is used is ours.
    found = (Loading("up", "other:up", cli.ENTRY_POINT_GROUP), entry("broken", "no_such_module:x"))
    monkeypatch.setattr(cli, "_installed", lambda: found)

    assert quarry("search", "x").exit_code == 0
    assert loaded == []
    assert quarry("up").stdout == "ran\n"
    broken = quarry("broken")
    assert broken.exit_code == 1
    assert "The command `broken` is broken" in broken.stderr
    helped = quarry("--help").stdout
    assert "Say that it ran." in helped
    assert "(cannot be loaded)" in helped


def test_the_entry_points_of_what_is_installed_are_read() -> None:
    assert all(point.group == "quarry.commands" for point in cli._installed())
    assert cli.main.get_command(click.Context(cli.main), "no-such-command") is None


def test_the_version_is_told(quarry: Quarry) -> None:
    assert quarry("--version").stdout.startswith("quarry, version ")
