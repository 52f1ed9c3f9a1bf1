"""`quarry keys`."""

import json
from uuid import UUID

import pytest
from libs.client.tests.conftest import Quarry, rows
from libs.client.tests.http_server import Reply, Server
from libs.client.tests.platform import NOW

from quarry_client.cli import secret_text

ID = str(UUID(int=5))
KEY = {
    "id": ID, "name": "app", "prefix": "qk_live_abcd", "label": "live", "scopes": ["search"],
    "created_at": NOW,
}  # fmt: skip
BOUND = KEY | {
    "scopes": ["search", "documents:read", "collections:read"], "collections": ["law"],
    "networks": ["10.0.0.0/8"], "principals": ["staff"], "requests_per_second": 5, "last_used_at": NOW,
    "expires_at": "2126-01-01T00:00:00Z", "rotated_from": str(UUID(int=4)), "metadata": {"team": "web"},
}  # fmt: skip
MADE = {"key": "qk_live_secret", "api_key": KEY}


def test_a_new_key_is_printed_alone_on_the_output(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, MADE)

    made = quarry("keys", "create", "app", "--role", "reader")

    assert made.stdout == "qk_live_secret\n"
    assert f"not shown again. Its id is {ID}." in made.stderr
    assert served.received[0].json() == {"name": "app", "role": "reader", "label": "live"}
    assert json.loads(quarry("keys", "create", "app", "--role", "reader", "--json").stdout)["key"]


def test_a_key_is_made_with_all_its_bounds(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, MADE)

    quarry(
        *("keys", "create", "app", "--scope", "search", "--scope", "documents:read", "--label", "test"),
        *("--expires-at", "2027-01-01", "--metadata", "a=1", "--collection", "law", "--collection", "tax"),
        *("--network", "10.0.0.0/8", "--principal", "staff", "--requests-per-second", "5"),
    )

    assert served.received[0].json() == {
        "name": "app",
        "scopes": ["search", "documents:read"],
        "label": "test",
        "expires_at": "2027-01-01T00:00:00Z",
        "metadata": {"a": "1"},
        "collections": ["law", "tax"],
        "networks": ["10.0.0.0/8"],
        "principals": ["staff"],
        "requests_per_second": 5,
    }


@pytest.mark.parametrize("given", [(), ("--role", "reader", "--scope", "search"), ("--role", "owner")])
def test_a_key_is_made_with_a_role_or_with_scopes(
    quarry: Quarry, served: Server, given: tuple[str, ...]
) -> None:
    assert quarry("keys", "create", "app", *given).exit_code == 2
    assert not served.received


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "active"),
        ({"revoked_at": NOW, "expires_at": "2126-01-01T00:00:00Z"}, "revoked"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": "2126-01-01T00:00:00Z"}, "until 2126-01-01"),
        ({"last_used_at": NOW}, "2026-01-02"),
        ({"scopes": ["a", "b"]}, "a, b"),
        ({"scopes": ["a", "b", "c"]}, "a and 2 more"),
    ],
)
def test_a_list_tells_what_matters_of_each_key(
    quarry: Quarry, served: Server, more: dict[str, object], shown: str
) -> None:
    served.answer = lambda _: Reply(200, {"keys": [KEY | more]})
    (line,) = [line for line in quarry("keys", "list").stdout.splitlines() if ID in line]
    assert [word for word in ("app", "qk_live_abcd", shown) if word not in line] == []
    assert json.loads(quarry("keys", "list", "--json").stdout)["keys"][0]["id"] == ID


def test_a_key_is_shown_with_all_its_bounds(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, BOUND)

    shown = rows(quarry("keys", "show", ID).stdout)

    assert served.received[0].path == f"/api/keys/{ID}"
    assert shown["collections"] == ["law"]
    assert shown["networks"] == ["10.0.0.0/8"]
    assert shown["principals"] == ["staff"]
    assert shown["requests"] == ["per", "second", "5"]
    assert shown["takes"][-1] == str(UUID(int=4))
    assert shown["metadata"] == ["team", "web"]
    assert json.loads(quarry("keys", "show", ID, "--json").stdout)["collections"] == ["law"]


def test_a_key_without_bounds_is_told_to_have_none(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, KEY)
    shown = rows(quarry("keys", "show", ID).stdout)
    assert (shown["collections"], shown["networks"]) == (["all"], ["all"])
    assert shown["requests"] == ["per", "second", "the", "tenant's"]


def test_the_use_of_a_key_is_shown_by_day(quarry: Quarry, served: Server) -> None:
    days = [{"day": "2026-01-02", "requests": 31, "denied": 7}]
    served.answer = lambda _: Reply(200, {"key_id": ID, "last_used_at": NOW, "days": days})

    lines = quarry("keys", "usage", ID).stdout.splitlines()

    assert lines[0].split() == ["last", "used", "2026-01-02", "03:04:05"]
    assert lines[-1].split() == ["2026-01-02", "31", "7"]
    assert json.loads(quarry("keys", "usage", ID, "--json").stdout)["days"] == days
    served.answer = lambda _: Reply(200, {"key_id": ID, "last_used_at": None, "days": []})
    assert "not used" in quarry("keys", "usage", ID).stdout


def test_the_key_that_takes_anothers_place_is_printed_alone_on_the_output(
    quarry: Quarry, served: Server
) -> None:
    served.answer = lambda _: Reply(201, MADE)

    made = quarry("keys", "rotate", ID, "--overlap-seconds", "60")

    assert made.stdout == "qk_live_secret\n"
    assert f"quarry keys show {ID}" in made.stderr
    (request,) = served.received
    assert (request.path, request.json()) == (f"/api/keys/{ID}/rotate", {"overlap_seconds": 60})


def test_a_key_is_revoked(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, KEY | {"revoked_at": NOW})
    assert quarry("keys", "revoke", ID).stdout == f"Revoked {ID}.\n"
    assert json.loads(quarry("keys", "revoke", ID, "--json").stdout)["revoked_at"] == NOW
    assert served.paths("DELETE") == [f"/api/keys/{ID}"] * 2


def test_a_key_to_be_verified_is_read_from_the_input(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"valid": True, "code": "valid", "api_key": KEY})

    told = quarry("keys", "verify", stdin="qk_live_text\n")

    assert told.exit_code == 0
    assert told.stdout.startswith("The key is valid.\n")
    assert "qk_live_abcd" in told.stdout
    assert served.received[0].json() == {"key": "qk_live_text"}


def test_a_key_to_be_verified_is_asked_for_at_a_terminal_and_not_shown(
    quarry: Quarry, served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_text, "at_terminal", lambda: True)
    served.answer = lambda _: Reply(200, {"valid": True, "code": "valid", "api_key": KEY})

    told = quarry("keys", "verify", "--json", stdin="qk_live_text\n")

    assert json.loads(told.stdout)["valid"]
    assert told.stderr.startswith("Key: ")
    assert "qk_live_text" not in told.output
    assert served.received[0].json() == {"key": "qk_live_text"}


@pytest.mark.parametrize("stdin", ["", "\n"])
def test_no_key_to_be_verified_is_a_usage_error(quarry: Quarry, served: Server, stdin: str) -> None:
    assert quarry("keys", "verify", stdin=stdin).exit_code == 2
    assert not served.received


def test_a_key_is_never_taken_as_an_argument(quarry: Quarry, served: Server) -> None:
    assert quarry("keys", "verify", "qk_live_text").exit_code == 2
    assert not served.received


def test_a_key_that_is_refused_is_told_by_the_exit_code(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"valid": False, "code": "revoked", "api_key": KEY})
    told = quarry("keys", "verify", stdin="qk_live_text\n")
    assert told.exit_code == 1
    assert told.stdout.startswith("The key is refused: revoked.\n")
    assert quarry("keys", "verify", "--json", stdin="qk_live_text\n").exit_code == 1
