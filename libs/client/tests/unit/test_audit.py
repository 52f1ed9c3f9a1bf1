"""`quarry audit`."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from libs.client.tests.conftest import Quarry
from libs.client.tests.http_server import Reply, Server
from libs.client.tests.platform import NOW

ID = str(UUID(int=5))
ENTRY = {
    "number": 7, "at": NOW, "action": "api_key.revoked", "target": ID, "outcome": "done",
    "actor": {"kind": "operator", "key_id": ID, "address": "203.0.113.5", "request_id": "r"},
    "before": {"revoked_at": None}, "after": {"revoked_at": NOW}, "previous_hash": "aa", "hash": "bb",
}  # fmt: skip
DENIED = ENTRY | {"number": 6, "action": "tenant.reached_for", "target": "acme", "outcome": "denied"}
INTACT = {
    "intact": True,
    "entries": 7,
    "head_number": 7,
    "head_hash": "beef",
    "first_fault": None,
    "fault": "",
}


def test_entries_tell_who_did_what_to_what(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"entries": [ENTRY, DENIED], "next_cursor": None})

    lines = [line.split() for line in quarry("audit", "list").stdout.splitlines()]

    when = ["2026-01-02", "03:04:05"]
    assert lines[-2:] == [
        ["7", *when, "operator", "api_key.revoked", ID],
        ["6", *when, "operator", "denied:", "tenant.reached_for", "acme"],
    ]
    told = json.loads(quarry("audit", "list", "--json").stdout)["entries"][0]
    assert (told["actor"]["address"], told["after"]) == ("203.0.113.5", {"revoked_at": NOW})


def test_entries_are_narrowed(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"entries": []})
    told = quarry("audit", "list", "--action", "api_key", "--outcome", "denied", "--limit", "3")
    assert told.stdout == "The log has no such entries.\n"
    assert served.received[0].query == {"action": "api_key", "outcome": "denied", "limit": "3"}


def test_a_log_that_is_as_it_was_written(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, INTACT)
    told = quarry("audit", "verify")
    assert told.exit_code == 0
    assert [line.split()[-1] for line in told.stdout.splitlines()] == ["yes", "7", "7", "beef"]
    assert served.paths() == ["/api/audit/verify"]


def test_a_log_that_was_changed_is_told_by_the_exit_code(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, INTACT | {"intact": False, "first_fault": 3, "fault": "is changed"})
    told = quarry("audit", "verify")
    assert told.exit_code == 1
    assert [line.split() for line in told.stdout.splitlines()][-2:] == [
        ["first", "fault", "3"],
        ["fault", "is", "changed"],
    ]
    assert quarry("audit", "verify", "--json").exit_code == 1


@pytest.mark.parametrize("verb", ["list", "verify"])
def test_the_installations_own_log_is_the_operators(
    quarry: Quarry, served: Server, tmp_path: Path, verb: str
) -> None:
    answer = INTACT | {"entries": []} if verb == "list" else INTACT
    served.answer = lambda _: Reply(200, answer)
    folder = tmp_path / "elsewhere" / "var"
    folder.mkdir()
    keys = {"url": served.url, "operator_key": "operator", "tenant_slug": "main", "api_key": "own"}
    (folder / "credentials.json").write_text(json.dumps(keys))
    without = {"QUARRY_URL": None, "QUARRY_API_KEY": None}

    quarry("audit", verb, env=without)
    quarry("audit", verb, "--installation", env=without)
    refused = quarry("audit", verb, "--installation", "--tenant", "acme", env=without)

    assert [request.headers["x-api-key"] for request in served.received] == ["own", "operator"]
    assert not any("x-tenant" in request.headers for request in served.received)
    assert refused.exit_code == 2
