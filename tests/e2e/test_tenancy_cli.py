"""`quarry tenants`, `tenant`, `keys`, `usage` and `audit` against the whole platform."""

import csv
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from tests.platform import Platform, Tenant, until

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
def own_quarry(platform: Platform, tenant: Tenant) -> Quarry:
    """Return a function that runs the command with the key of `tenant`."""
    environ = {"QUARRY_URL": platform.url, "QUARRY_API_KEY": tenant.key, "QUARRY_TENANT": None}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=environ)

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


async def test_a_purge_leaves_a_receipt(quarry: Quarry, slug: str) -> None:
    early = quarry("tenants", "purge-receipt", slug)
    assert (early.exit_code, early.stdout) == (1, "")
    assert quarry("tenants", "delete", slug, "--grace-seconds", "0", "--yes").exit_code == 0

    async def verified() -> Result | None:
        done = quarry("tenants", "purge-receipt", slug, "--json")
        return done if done.exit_code == 0 else None

    receipt = told(await until(verified, 120, "the purge is verified"))

    assert (receipt["slug"], receipt["verified"]) == (slug, True)
    left = receipt["left"]
    assert isinstance(left, dict)
    assert set(left.values()) == {0}
    shown = quarry("tenants", "purge-receipt", slug)
    assert shown.exit_code == 0
    assert ["verified", "yes"] in [line.split() for line in shown.stdout.splitlines()]
    assert told(quarry("tenants", "show", slug, "--json"))["state"] == "purged"


def test_a_tenant_sees_itself_and_changes_its_pages(own_quarry: Quarry, tenant: Tenant) -> None:
    page = f"https://{tenant.slug}.example"
    assert own_quarry("tenant", "update").exit_code == 2

    changed = told(own_quarry("tenant", "update", "--cors-origin", page, "--json"))
    shown = told(own_quarry("tenant", "show", "--json"))

    assert changed == shown
    assert (shown["slug"], shown["plan"], shown["cors_origins"]) == (tenant.slug, "unlimited", [page])
    assert page in own_quarry("tenant", "show").stdout
    assert told(own_quarry("tenant", "update", "--no-cors-origins", "--json"))["cors_origins"] == []


async def test_what_was_used_is_told_of_a_tenant_a_key_and_everybody(
    quarry: Quarry, own_quarry: Quarry, tenant: Tenant
) -> None:
    await tenant.put("one", "A heron by the river.")
    (key,) = (await tenant.client.list_keys()).keys
    for _ in range(3):
        await tenant.search("heron", mode="keyword")
    today = datetime.now(UTC).date().isoformat()

    async def counted() -> bool:
        return day_of(own_quarry("usage", "--json"))["searches"] == 3

    await until(counted, 30, "the searches are counted")

    day = day_of(own_quarry("usage", "--first", today, "--last", today, "--json"))
    assert (day["day"], day["documents_added"], day["documents"]) == (today, 1, 1)
    assert day["chunks"] == 1
    (row,) = csv.DictReader(
        own_quarry("usage", "--first", today, "--last", today, "--format", "csv").stdout.splitlines()
    )
    assert (row["day"], row["searches"], row["documents"]) == (today, "3", "1")
    assert own_quarry("usage", "--all").exit_code == 1  # it is the operator's
    everybody = told(quarry("usage", "--all", "--first", today, "--last", today, "--json"))["tenants"]
    assert isinstance(everybody, list)
    assert [each["searches"] for each in everybody if each["tenant"] == tenant.slug] == [3]

    async def noted() -> bool:
        return requests_of(own_quarry, key.id) >= 4  # the upload and the searches, at least

    await until(noted, 30, "the requests of the key are counted")
    assert "requests" in own_quarry("keys", "usage", str(key.id)).stdout


def day_of(done: Result) -> dict[str, object]:
    """Return the last day of what `quarry usage --json` printed."""
    days = told(done)["days"]
    assert isinstance(days, list)
    last = days[-1]
    assert isinstance(last, dict)
    return last


def requests_of(quarry: Quarry, key_id: UUID) -> int:
    """Return how many requests `quarry keys usage` tells of."""
    days = told(quarry("keys", "usage", str(key_id), "--json"))["days"]
    assert isinstance(days, list)
    return sum(day["requests"] for day in days)
