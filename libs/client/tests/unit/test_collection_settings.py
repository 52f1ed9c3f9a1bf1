"""Settings of collections, by the client and by `quarry collections`."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import Result
from libs.client.tests.http_server import Reply, Server
from libs.client.tests.platform import NOW

from quarry_client import AsyncClient, Client
from quarry_client.types import CollectionSettings

Quarry = Callable[..., Result]
SETTINGS = {
    "language": "de",
    "title_boost": 2.0,
    "synonyms": [["pc", "computer"]],
    "new": "of a newer server",
}
COLLECTION = {
    "id": str(UUID(int=5)), "name": "law", "created_at": NOW, "settings": SETTINGS, "outdated_documents": 3,
}  # fmt: skip
PLACE = "/api/collections/law"


@pytest.fixture
def served(served: Server) -> Server:
    served.answer = lambda _: Reply(200, COLLECTION)
    return served


def sent(served: Server) -> list[tuple[str, str, object]]:
    return [
        (each.method, each.path, json.loads(each.body) if each.body else None) for each in served.received
    ]


def test_a_client_sets_and_reads_them(served: Server) -> None:
    with Client(served.url, "secret") as client:
        made = client.create_collection("law", settings={"language": "de", "dense_weight": None})
        client.update_collection("law", title_boost=None, stop_words=["bitte"])

    assert made.settings == CollectionSettings("de", title_boost=2.0, synonyms=[["pc", "computer"]])
    assert made.outdated_documents == 3
    assert sent(served) == [
        ("POST", "/api/collections", {"name": "law", "settings": {"language": "de"}}),
        ("PATCH", PLACE, {"settings": {"title_boost": None, "stop_words": ["bitte"]}}),
    ]


def test_an_asynchronous_client_sets_them_too(served: Server) -> None:
    async def change() -> float:
        async with AsyncClient(served.url, "secret") as client:
            return (await client.update_collection("law", title_boost=2)).settings.title_boost

    assert asyncio.run(change()) == 2.0
    assert sent(served) == [("PATCH", PLACE, {"settings": {"title_boost": 2}})]


def test_a_server_without_settings_is_understood(served: Server) -> None:
    served.answer = lambda _: Reply(200, {name: COLLECTION[name] for name in ("id", "name", "created_at")})

    with Client(served.url, "secret") as client:
        found = client.get_collection("law")

    assert (found.settings, found.outdated_documents) == (CollectionSettings(), 0)


def test_settings_are_shown_with_what_is_outdated(quarry: Quarry, served: Server) -> None:
    shown = quarry("collections", "settings", "law")

    assert sent(served) == [("GET", PLACE, None)]
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["language", "de"] in lines
    assert ["synonyms", '[["pc","computer"]]'] in lines
    assert "3 documents" in shown.stderr
    assert "quarry reindex --collection law" in shown.stderr
    assert json.loads(quarry("collections", "settings", "law", "--json").stdout)["title_boost"] == 2.0


def test_settings_are_changed_from_a_file_and_one_by_one(
    quarry: Quarry, served: Server, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"synonyms": [["pc", "computer"]], "title_boost": 4}))

    quarry(
        "collections", "settings", "law", "--from", file,
        "--set", "title_boost=1.5", "--set", "language=de", "--set", "dense_weight=null",
    )  # fmt: skip
    quarry("collections", "settings", "law", "--from", "-", stdin='{"stop_words": ["größe"]}')

    changes = {"synonyms": [["pc", "computer"]], "title_boost": 1.5, "language": "de", "dense_weight": None}
    assert sent(served) == [
        ("PATCH", PLACE, {"settings": changes}),
        ("PATCH", PLACE, {"settings": {"stop_words": ["größe"]}}),
    ]


def test_a_collection_is_created_with_settings(quarry: Quarry, served: Server) -> None:
    assert quarry("collections", "create", "law", "--set", "chunk_tokens=120").exit_code == 0

    assert sent(served) == [("POST", "/api/collections", {"name": "law", "settings": {"chunk_tokens": 120}})]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "title_boost"), "name=value"),
        (("--set", "=2"), "name=value"),
        (("--from", "-"), "not JSON"),
        (("--from", "missing.json"), "missing.json"),
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_is_sent(
    quarry: Quarry, served: Server, arguments: tuple[str, ...], told: str
) -> None:
    refused = quarry("collections", "settings", "law", *arguments, stdin="{")

    assert refused.exit_code == 2
    assert told in refused.stderr
    assert sent(served) == []


def test_a_file_that_is_no_object_is_refused(quarry: Quarry, served: Server) -> None:
    refused = quarry("collections", "settings", "law", "--from", "-", stdin="[1]")

    assert (refused.exit_code, sent(served)) == (2, [])
    assert "must be a JSON object" in refused.stderr
