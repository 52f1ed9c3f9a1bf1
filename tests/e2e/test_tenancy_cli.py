"""`quarry tenants`, `keys` and `audit` against the whole platform."""

import json
import secrets
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from tests.platform import Platform

from quarry_client.cli import main

Quarry = Callable[..., Result]


@pytest.fixture
def quarry(platform: Platform) -> Quarry:
    """Return a function that runs the command with the operator's key."""
    environ = {"QUARRY_URL": platform.url, "QUARRY_API_KEY": platform.operator_key, "QUARRY_TENANT": None}

    def run(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, arguments, env=environ, input=stdin)

    return run


@pytest.fixture
def slug(quarry: Quarry) -> str:
    """Return the slug of a new tenant that differs from its plan."""
    made = f"t-{secrets.token_hex(6)}"
    done = quarry("tenants", "create", made, "--plan", "starter", "--quota", "documents=7")
    assert done.exit_code == 0, done.stderr
    return made


def told(done: Result) -> dict[str, object]:
    """Return the JSON that a command printed."""
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_tenant_goes_through_its_life(quarry: Quarry, slug: str) -> None:
    made = told(quarry("tenants", "show", slug, "--json"))
    assert (made["plan"], made["quota_changes"]) == ("starter", {"documents": 7})

    changed = told(
        quarry("tenants", "update", slug, "--quota", "keys=unlimited", "--plan", "business", "--json")
    )
    assert (changed["plan"], changed["quota_changes"]) == ("business", {"documents": 7, "keys": None})

    assert quarry("tenants", "delete", slug, stdin="another\n").exit_code == 1
    assert told(quarry("tenants", "show", slug, "--json"))["state"] == "active"
    deleted = told(quarry("tenants", "delete", slug, "--grace-seconds", "3600", "--json", stdin=f"{slug}\n"))
    assert deleted["state"] == "deleting"
    assert told(quarry("tenants", "restore", slug, "--json"))["state"] == "disabled"
    assert told(quarry("tenants", "enable", slug, "--json"))["state"] == "active"


def test_a_key_is_made_rotated_verified_and_revoked(quarry: Quarry, slug: str) -> None:
    options = ("--collection", "default", "--network", "127.0.0.0/8", "--requests-per-second", "50")
    old = quarry("keys", "create", "shop", "--role", "reader", *options, "--tenant", slug).stdout
    verdict = told(quarry("keys", "verify", "--tenant", slug, "--json", stdin=old))
    api_key = verdict["api_key"]
    assert isinstance(api_key, dict)
    assert verdict["valid"] is True
    assert (api_key["collections"], api_key["requests_per_second"]) == (["default"], 50)

    rotated = quarry("keys", "rotate", api_key["id"], "--overlap-seconds", "0", "--tenant", slug)
    assert rotated.exit_code == 0, rotated.stderr

    ended = quarry("keys", "verify", "--tenant", slug, stdin=old)
    assert (ended.exit_code, ended.stdout.splitlines()[0]) == (1, "The key is refused: expired.")
    new = told(quarry("keys", "verify", "--tenant", slug, "--json", stdin=rotated.stdout))["api_key"]
    assert isinstance(new, dict)
    assert (new["rotated_from"], new["networks"]) == (api_key["id"], ["127.0.0.0/8"])

    assert quarry("keys", "revoke", new["id"], "--tenant", slug).exit_code == 0
    assert "revoked" in quarry("keys", "verify", "--tenant", slug, stdin=rotated.stdout).stdout


def test_the_log_of_it_holds(quarry: Quarry, slug: str) -> None:
    key = told(quarry("keys", "create", "shop", "--role", "reader", "--tenant", slug, "--json"))["api_key"]
    assert isinstance(key, dict)

    entries = told(quarry("audit", "list", "--action", "api_key", "--tenant", slug, "--json"))["entries"]
    assert isinstance(entries, list)
    assert [(each["action"], each["target"]) for each in entries] == [("api_key.created", key["id"])]
    assert entries[0]["actor"]["kind"] == "operator"
    verdict = told(quarry("audit", "verify", "--tenant", slug, "--json"))
    assert verdict["intact"] is True
    assert told(quarry("audit", "verify", "--installation", "--json"))["intact"] is True


def test_whoever_runs_it_for_oneself_has_no_quotas(quarry: Quarry) -> None:
    assert told(quarry("tenants", "show", "default", "--json"))["plan"] == "unlimited"
