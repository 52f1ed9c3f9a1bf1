"""Commands and operations of domains and signing keys."""

import asyncio
import json
from collections.abc import Callable
from uuid import UUID

import pytest
from click.testing import Result
from libs.client.tests.http_server import Reply, Server
from libs.client.tests.platform import NOW

from quarry_client import AsyncClient, Client
from quarry_client.cli import output

Quarry = Callable[..., Result]
ID = UUID(int=7)
DOMAIN = {
    "name": "search.acme.example",
    "state": "pending",
    "record_name": "_quarry-challenge.search.acme.example",
    "record_value": "quarry-domain-verification=token",
    "created_at": NOW,
}
PROBLEM = "There is no name _quarry-challenge.search.acme.example in the DNS."
KEY = {"id": str(ID), "name": "shop", "public_key": "A" * 43, "created_at": NOW, "collections": ["a", "b"]}
PEM = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"


def test_a_claimed_domain_is_shown_with_its_record(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, DOMAIN)

    added = quarry("domains", "add", "search.acme.example")

    assert "_quarry-challenge.search.acme.example TXT" in added.stdout
    assert "quarry-domain-verification=token" in added.stdout
    assert "quarry domains check search.acme.example" in added.stderr
    assert served.paths("POST") == ["/api/domains"]
    assert served.received[0].json() == {"name": "search.acme.example"}
    assert served.received[0].headers["idempotency-key"]


def test_a_check_succeeds_only_when_the_record_is_there(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, DOMAIN | {"problem": PROBLEM})
    missing = quarry("domains", "check", "bücher.example")
    served.answer = lambda _: Reply(200, DOMAIN | {"state": "verified"})
    there = quarry("domains", "check", "bücher.example")

    assert (missing.exit_code, there.exit_code) == (1, 0)
    assert PROBLEM in missing.stdout
    assert "verified" in there.stdout
    assert served.received[0].path == "/api/domains/bücher.example/check"


def test_domains_and_signing_keys_are_listed(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"domains": [DOMAIN | {"problem": PROBLEM}]})
    domains, as_json = quarry("domains", "list"), quarry("domains", "list", "--json")
    served.answer = lambda _: Reply(200, {"signing_keys": [KEY, KEY | {"collections": None}]})
    keys = quarry("signing-keys", "list")

    assert all(text in domains.stdout for text in ("search.acme.example", "pending", "There is no name"))
    assert json.loads(as_json.stdout)["domains"][0]["name"] == "search.acme.example"
    assert all(text in keys.stdout for text in (str(ID), "shop", "a, b", "all"))


def test_the_ids_of_signing_keys_stand_whole_in_a_narrow_table(
    quarry: Quarry, served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_PIPE_WIDTH", 100)
    served.answer = lambda _: Reply(200, {"signing_keys": [KEY | {"revoke_before": NOW, "revoked_at": NOW}]})

    assert str(ID) in quarry("signing-keys", "list").stdout


def test_a_domain_is_given_up_when_it_was_confirmed(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, DOMAIN)

    removed = quarry("domains", "remove", "a.example", stdin="y\n")

    assert "Give up the domain a.example?" in removed.stderr
    assert removed.stdout == "Removed a.example.\n"
    assert served.paths("DELETE") == ["/api/domains/a.example"]


def test_a_script_gives_a_domain_up_without_being_asked(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, DOMAIN)

    removed = quarry("domains", "remove", "search.acme.example", "--yes", "--json")

    assert json.loads(removed.stdout)["name"] == "search.acme.example"
    assert served.paths("DELETE") == ["/api/domains/search.acme.example"]


@pytest.mark.parametrize("command", [("domains", "remove", "a.example"), ("signing-keys", "revoke", ID)])
@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_nothing_is_taken_away_that_was_not_confirmed(
    quarry: Quarry, served: Server, command: tuple[object, ...], typed: str
) -> None:
    assert quarry(*command, stdin=typed).exit_code == 1
    assert not served.received


def test_a_new_private_key_is_printed_alone_on_the_output(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, {"signing_key": KEY, "private_key": PEM})

    made = quarry("signing-keys", "create", "shop", "--collection", "a", "--collection", "b")

    assert made.stdout == PEM
    assert str(ID) in made.stderr
    assert served.received[0].json() == {"name": "shop", "collections": ["a", "b"]}


def test_a_key_of_ones_own_is_answered_with_its_id(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, {"signing_key": KEY, "private_key": None})

    made = quarry("signing-keys", "create", "shop", "--public-key", "A" * 43)

    assert made.stdout == f"{ID}\n"
    assert served.received[0].json() == {"name": "shop", "public_key": "A" * 43}


def test_tokens_are_revoked_up_to_a_time_or_for_ever(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, KEY | {"revoke_before": NOW})
    some = quarry("signing-keys", "revoke", ID, "--before", "2026-01-02T03:04:05")
    served.answer = lambda _: Reply(200, KEY | {"revoked_at": NOW})
    every = quarry("signing-keys", "revoke", ID, stdin="y\n")

    assert some.stdout == "Tokens issued before 2026-01-02 03:04:05 are refused.\n"
    assert "with all its tokens, for ever?" in every.stderr
    assert every.stdout == f"Revoked {ID}.\n"
    assert [request.json() for request in served.received] == [{"before": "2026-01-02T03:04:05Z"}, {}]
    assert set(served.paths("POST")) == {f"/api/signing-keys/{ID}/revoke"}


def test_a_script_revokes_a_signing_key_without_being_asked(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, KEY | {"revoked_at": NOW})

    revoked = quarry("signing-keys", "revoke", ID, "--yes", "--json")

    assert json.loads(revoked.stdout)["revoked_at"] == NOW
    assert served.paths("POST") == [f"/api/signing-keys/{ID}/revoke"]


def test_both_clients_have_the_operations(served: Server) -> None:
    served.answer = lambda _: Reply(200, {"domains": [DOMAIN]})

    async def list_domains() -> str:
        async with AsyncClient(served.url, "secret") as client:
            return (await client.list_domains()).domains[0].record_name

    with Client(served.url, "secret") as client:
        assert client.list_domains().domains[0].record_name == asyncio.run(list_domains())
