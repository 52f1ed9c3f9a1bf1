"""Settings of collections: given when one is made, changed by a merge patch, shown with what is outdated."""

import json

import httpx
import pytest
from msgspec import UNSET

from quarry_common.contracts.collections import (
    CollectionSettings,
    CreateCollection,
    Language,
    SettingsPatch,
    UpdateCollection,
)
from quarry_common.contracts.tenancy import Scope

PLACE = "/api/collections/manuals"


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@pytest.fixture
async def made(client: httpx.AsyncClient) -> dict[str, object]:
    body = {"name": "manuals", "settings": {"language": "de", "synonyms": [["pc", "computer"]]}}
    answer = await client.post("/api/collections", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_collection_is_made_with_settings_and_shows_them(client, backend, made) -> None:
    asked = backend.asked[-1]

    assert isinstance(asked, CreateCollection)
    assert asked.settings == CollectionSettings(language=Language.GERMAN, synonyms=[["pc", "computer"]])
    assert made["settings"] == {
        "language": "de", "chunk_tokens": None, "chunk_overlap": None, "title_boost": 1.0,
        "stop_words": [], "synonyms": [["pc", "computer"]], "dense_weight": None,
    }  # fmt: skip
    assert made["outdated_documents"] == 3
    assert (await client.get(PLACE)).json() == made
    assert (await client.get("/api/collections")).json()["collections"] == [made]


@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json; charset=UTF-8"])
async def test_a_patch_says_what_changes_and_what_stays(client, backend, made, kind) -> None:
    body = {"settings": {"title_boost": 2, "language": None, "stop_words": ["please"]}}

    answer = await client.patch(PLACE, content=json.dumps(body), headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()) == (200, made)
    asked = backend.asked[-1]
    patch = SettingsPatch(title_boost=2.0, language=None, stop_words=["please"])
    assert asked == UpdateCollection(backend.acme.id, "manuals", patch)
    assert asked.settings.synonyms is UNSET


WRONG = {
    "language": ("klingon", "must be one of ar, bg, "),
    "chunk_tokens": (31, "must be at least 32"),
    "chunk_overlap": (-1, "must be at least 0"),
    "title_boost": (10.5, "must be at most 10"),
    "dense_weight": (1.01, "must be at most 1"),
    "stop_words": (["a"] * 1001, "must be at most 1000 items long"),
    "synonyms": ([["a", "b"]] * 1001, "must be at most 1000 items long"),
    "nope": (1, "is not known; known are language, "),
}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_every_limit_is_told_by_its_field(client, made, method) -> None:
    wrong = {name: value for name, (value, _) in WRONG.items()}
    body = {"settings": wrong} | ({"name": "other"} if method == "POST" else {})

    answer = await client.request(method, "/api/collections" if method == "POST" else PLACE, json=body)

    errors = errors_of(answer)
    assert set(errors) == {f"settings.{name}" for name in WRONG}
    for name, (_, message) in WRONG.items():
        assert errors[f"settings.{name}"].startswith(message), errors


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"synonyms": [["a", "b"], ["alone"]]}, "settings.synonyms[1]"),
        ({"synonyms": [["a", "b"], ["a"] * 21]}, "settings.synonyms[1]"),
        ({"synonyms": [["a", "b"], ["c", " "]]}, "settings.synonyms[1][1]"),
        ({"stop_words": ["a", ""]}, "settings.stop_words[1]"),
        ({"stop_words": ["a", "b" * 101]}, "settings.stop_words[1]"),
        ({"chunk_tokens": 4097}, "settings.chunk_tokens"),
        ({"chunk_tokens": "200"}, "settings.chunk_tokens"),
        ({"title_boost": -1}, "settings.title_boost"),
        ({"dense_weight": -0.1}, "settings.dense_weight"),
        ({"chunk_overlap": 2048}, "settings.chunk_overlap"),
        ({"stop_words": ["a\0"]}, "settings"),
        ({"nope": 1}, "settings.nope"),
        (None, "settings"),
    ],
)
async def test_a_wrong_value_is_told_by_its_place(client, backend, made, settings, field) -> None:
    answer = await client.patch(PLACE, json={"settings": settings})

    assert set(errors_of(answer)) == {field}
    assert not any(isinstance(asked, UpdateCollection) for asked in backend.asked)


async def test_a_setting_that_there_is_not_makes_no_collection(client, backend) -> None:
    answer = await client.post("/api/collections", json={"name": "manuals", "settings": {"nope": 1}})

    assert set(errors_of(answer)) == {"settings.nope"}
    assert not backend.collections


async def test_a_patch_holds_settings_and_nothing_else(client, made) -> None:
    empty = await client.patch(PLACE, json={})
    renamed = await client.patch(PLACE, json={"name": "other", "settings": {}})

    assert empty.status_code == 200
    assert set(errors_of(renamed)) == {"name"}
    assert (await client.patch(PLACE, content=b"a=1")).status_code == 415


async def test_a_patch_of_no_collection_is_not_found(client) -> None:
    answer = await client.patch("/api/collections/nowhere", json={"settings": {}})
    unnamed = await client.patch("/api/collections/No%20Name", json={"settings": {}})

    assert answer.status_code == 404
    assert set(errors_of(unnamed)) == {"name"}


async def test_settings_are_changed_by_who_may_make_collections_and_in_their_own_tenant(
    http, backend, made
) -> None:
    async def status(key: str) -> int:
        headers = {"X-API-Key": key}
        return (await http.patch(PLACE, json={"settings": {}}, headers=headers)).status_code

    assert await status(backend.key(Scope.COLLECTIONS_READ)) == 403
    assert await status(backend.key(Scope.COLLECTIONS_WRITE)) == 200
    assert await status(backend.key(Scope.COLLECTIONS_WRITE, tenant=backend.other)) == 404
