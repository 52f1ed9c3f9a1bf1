"""`quarry tenants` and `quarry tenant`."""

import json
from collections.abc import Callable
from uuid import UUID

import pytest
from libs.client.tests.conftest import Quarry, rows
from libs.client.tests.http_server import Received, Reply, Server
from libs.client.tests.platform import NOW

ID = str(UUID(int=5))
QUOTAS = {
    "documents": 1000, "storage_mb": 10, "searches_per_day": None, "keys": 0, "webhooks": 5,
    "requests_per_second": 20, "burst": None,
}  # fmt: skip
TENANT = {
    "id": ID, "slug": "acme", "name": "Acme Ltd", "created_at": NOW, "plan": "starter", "state": "active",
    "quotas": QUOTAS, "quota_changes": {"searches_per_day": None, "keys": 0},
    "cors_origins": ["https://acme.example"],
}  # fmt: skip
DELETING = TENANT | {"state": "deleting", "purge_at": NOW}
OWN = {
    "slug": "acme", "name": "Acme Ltd", "plan": "starter", "quotas": QUOTAS, "created_at": NOW,
    "cors_origins": [],
    "use": {"documents": 999, "storage_bytes": 10 * 2**20, "searches_today": 12},
}  # fmt: skip
RECEIPT = {
    "tenant_id": ID, "slug": "acme", "requested_at": NOW, "started_at": NOW, "finished_at": NOW,
    "removed": {"vectors.points": 41, "blobs.objects": 3}, "left": {"vectors.points": 0}, "verified": True,
    "audit_entries": 17, "audit_head_hash": "beef",
}  # fmt: skip


def always(body: object, status: int = 200) -> Callable[[Received], Reply]:
    return lambda _: Reply(status, body)


def test_a_tenant_is_made_with_its_plan_and_where_it_differs(quarry: Quarry, served: Server) -> None:
    served.answer = always(TENANT, 201)

    made = quarry(
        *("tenants", "create", "acme", "--name", "Acme Ltd", "--plan", "starter", "--quota", "keys=0"),
        *("--quota", "searches_per_day=unlimited", "--cors-origin", "https://acme.example"),
    )

    assert "Created the tenant acme." in made.stdout
    assert served.received[0].json() == {
        "slug": "acme",
        "name": "Acme Ltd",
        "plan": "starter",
        "quotas": {"keys": 0, "searches_per_day": None},
        "cors_origins": ["https://acme.example"],
    }


def test_a_tenant_needs_no_more_than_a_slug(quarry: Quarry, served: Server) -> None:
    served.answer = always(TENANT, 201)
    assert json.loads(quarry("tenants", "create", "acme", "--json").stdout)["slug"] == "acme"
    assert served.received[0].json() == {"slug": "acme", "name": "acme"}


@pytest.mark.parametrize("wrong", ["keys", "keys=", "=3", "keys=-1", "keys=many", f"keys={'9' * 5000}"])
def test_a_quota_that_is_no_number_is_a_usage_error(quarry: Quarry, served: Server, wrong: str) -> None:
    told = quarry("tenants", "create", "acme", "--quota", wrong)
    assert told.exit_code == 2
    assert "--quota" in told.stderr
    assert not served.received


def test_tenants_are_listed(quarry: Quarry, served: Server) -> None:
    served.answer = always({"tenants": [DELETING]})
    shown = rows(quarry("tenants", "list").stdout)
    assert shown["acme"] == ["Acme", "Ltd", "starter", "deleting", "2026-01-02", "03:04:05"]
    assert json.loads(quarry("tenants", "list", "--json").stdout)["tenants"][0]["id"] == ID


def test_a_tenant_is_shown_with_where_its_quotas_come_from(quarry: Quarry, served: Server) -> None:
    served.answer = always(DELETING)

    shown = rows(quarry("tenants", "show", "acme").stdout)

    assert served.received[0].path == "/api/admin/tenants/acme"
    assert shown["state"] == ["deleting"]
    assert shown["purged"] == ["at", "2026-01-02", "03:04:05"]
    assert shown["web"] == ["pages", "https://acme.example"]
    assert shown["documents"] == ["1000", "plan"]
    assert shown["keys"] == ["0", "its", "own"]
    assert shown["searches_per_day"] == ["no", "limit", "its", "own"]
    assert json.loads(quarry("tenants", "show", "acme", "--json").stdout)["quota_changes"] == {
        "searches_per_day": None,
        "keys": 0,
    }


def test_only_what_is_named_is_changed(quarry: Quarry, served: Server) -> None:
    served.answer = always(TENANT)
    quarry("tenants", "update", "acme", "--name", "Acme Inc", "--plan", "business", "--no-cors-origins")
    (request,) = served.received
    assert (request.method, request.path) == ("PATCH", "/api/admin/tenants/acme")
    assert request.json() == {"name": "Acme Inc", "plan": "business", "cors_origins": []}


def test_quotas_that_are_not_named_stay(quarry: Quarry, served: Server) -> None:
    served.answer = always(TENANT)
    quarry("tenants", "update", "acme", "--quota", "documents=7", "--quota", "keys=plan")
    read, changed = served.received
    assert read.method == "GET"
    assert changed.json() == {"quotas": {"searches_per_day": None, "documents": 7}}


@pytest.mark.parametrize("given", [(), ("--cors-origin", "*", "--no-cors-origins")])
def test_a_change_that_says_nothing_or_two_things_is_a_usage_error(
    quarry: Quarry, served: Server, given: tuple[str, ...]
) -> None:
    assert quarry("tenants", "update", "acme", *given).exit_code == 2
    assert quarry("tenant", "update", *given).exit_code == 2
    assert not served.received


@pytest.mark.parametrize(
    ("verb", "disabled", "told"), [("disable", True, "is disabled"), ("enable", False, "is enabled")]
)
def test_a_tenant_is_disabled_and_enabled(
    quarry: Quarry, served: Server, verb: str, disabled: bool, told: str
) -> None:
    served.answer = always(TENANT)
    assert told in quarry("tenants", verb, "acme").stdout
    assert json.loads(quarry("tenants", verb, "acme", "--json").stdout)["slug"] == "acme"
    assert [request.json() for request in served.received] == [{"disabled": disabled}] * 2


def test_a_tenant_is_deleted_when_its_slug_was_typed(quarry: Quarry, served: Server) -> None:
    served.answer = lambda request: Reply(200, TENANT if request.method == "GET" else DELETING)

    deleted = quarry("tenants", "delete", "acme", "--grace-seconds", "60", stdin="acme\n")

    assert deleted.exit_code == 0
    assert "The tenant acme (Acme Ltd) is to be disabled now" in deleted.stderr
    assert "purged at 2026-01-02 03:04:05 UTC" in deleted.stdout
    assert "quarry tenants restore acme" in deleted.stdout
    assert [(each.method, each.query) for each in served.received] == [
        ("GET", {}),
        ("DELETE", {"grace_seconds": "60"}),
    ]


@pytest.mark.parametrize(
    ("given", "when"),
    [
        ((), "when the installation's time of grace (TENANT_GRACE_HOURS) is over"),
        (("--grace-seconds", "7200"), "in 2 h 0 min"),
        (("--grace-seconds", "0"), "in 10 s"),
    ],
)
def test_who_deletes_a_tenant_is_told_before_when_it_is_purged(
    quarry: Quarry, served: Server, given: tuple[str, ...], when: str
) -> None:
    served.answer = always(TENANT)
    asked = quarry("tenants", "delete", "acme", *given, stdin="no\n")
    assert f"purged from every store {when}. Until then `quarry tenants restore acme`" in asked.stderr


@pytest.mark.parametrize("typed", ["other\n", "y\n", "ACME\n", ""])
def test_a_tenant_is_not_deleted_when_something_else_was_typed(
    quarry: Quarry, served: Server, typed: str
) -> None:
    served.answer = always(TENANT)
    assert quarry("tenants", "delete", "acme", stdin=typed).exit_code == 1
    assert not served.paths("DELETE")


def test_a_script_deletes_without_being_asked(quarry: Quarry, served: Server) -> None:
    served.answer = always(DELETING)
    assert json.loads(quarry("tenants", "delete", "acme", "--yes", "--json").stdout)["state"] == "deleting"
    assert [(each.method, each.query) for each in served.received] == [("DELETE", {})]


def test_a_tenant_is_restored_and_told_to_be_disabled_still(quarry: Quarry, served: Server) -> None:
    served.answer = always(TENANT)
    assert "quarry tenants enable acme" in quarry("tenants", "restore", "acme").stdout
    assert served.paths("POST") == ["/api/admin/tenants/acme/restore"]


def test_a_receipt_tells_what_was_removed_and_what_was_left(quarry: Quarry, served: Server) -> None:
    served.answer = always(RECEIPT)

    done = quarry("tenants", "purge-receipt", "acme")

    assert done.exit_code == 0
    shown = rows(done.stdout)
    assert shown["vectors.points"] == ["41", "0"]
    assert shown["blobs.objects"] == ["3", "-"]
    assert shown["verified"] == ["yes"]
    assert shown["audit"] == ["head", "beef"]


def test_a_purge_that_is_not_verified_is_told_by_the_exit_code(quarry: Quarry, served: Server) -> None:
    served.answer = always(RECEIPT | {"finished_at": None, "verified": False, "removed": {}, "left": {}})
    done = quarry("tenants", "purge-receipt", "acme")
    assert done.exit_code == 1
    assert "Nothing is removed yet." in done.stdout
    assert quarry("tenants", "purge-receipt", "acme", "--json").exit_code == 1


def test_the_own_tenant_is_shown_with_how_much_of_its_quotas_is_used(quarry: Quarry, served: Server) -> None:
    served.answer = always(OWN)

    shown = rows(quarry("tenant", "show").stdout)

    assert served.paths("GET") == ["/api/tenant"]
    assert shown["documents"] == ["999", "1000", "99", "%"]
    assert shown["storage_mb"] == ["10.0", "10", "100", "%"]
    assert shown["searches_per_day"] == ["12", "no", "limit", "-"]
    assert shown["burst"] == ["-", "no", "limit", "-"]
    assert json.loads(quarry("tenant", "show", "--json").stdout)["use"]["documents"] == 999


def test_a_quota_of_nothing_is_used_up(quarry: Quarry, served: Server) -> None:
    served.answer = always(OWN | {"quotas": QUOTAS | {"documents": 0}})
    assert rows(quarry("tenant", "show").stdout)["documents"] == ["999", "0", "100", "%"]


def test_a_tenant_says_which_web_pages_may_call_the_api(quarry: Quarry, served: Server) -> None:
    served.answer = always(OWN)
    quarry("tenant", "update", "--cors-origin", "https://a.example", "--cors-origin", "https://b.example")
    quarry("tenant", "update", "--no-cors-origins", "--json")
    assert [(each.method, each.path) for each in served.received] == [("PATCH", "/api/tenant")] * 2
    assert [each.json()["cors_origins"] for each in served.received] == [
        ["https://a.example", "https://b.example"],
        [],
    ]
