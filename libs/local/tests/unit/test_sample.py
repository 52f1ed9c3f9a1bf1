"""The tenant and the key that `quarry up` makes for the person who starts it."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from libs.client.tests.http_server import Received, Reply, Server, problem, running_server
from libs.client.tests.platform import NOW

from quarry_local.sample import Credentials, ensure_credentials, load_credentials

TENANT = {"id": str(uuid4()), "slug": "default", "name": "Default", "created_at": NOW}
KEY = {
    "id": str(uuid4()),
    "name": "local",
    "prefix": "qk_live_ab",
    "label": "live",
    "scopes": [],
    "created_at": NOW,
}


def empty(request: Received) -> Reply:
    """Answer like an installation without tenants."""
    match request.method, request.path:
        case "POST", "/api/admin/tenants":
            return Reply(201, TENANT)
        case "POST", "/api/keys":
            return Reply(201, {"key": "qk_live_new", "api_key": KEY})
        case _:
            return problem(401, "unauthenticated", "The key is not known.")


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server(empty) as running:
        yield running


def test_the_first_start_makes_a_tenant_without_quotas_and_a_key_for_all_of_it(
    server: Server, tmp_path: Path
) -> None:
    made = ensure_credentials(tmp_path / "credentials.json", server.url, "operator")

    assert made == Credentials(server.url, "operator", "default", "qk_live_new")
    assert load_credentials(tmp_path / "credentials.json") == made
    tenant, key = server.received
    assert tenant.json() == {"slug": "default", "name": "Default", "plan": "unlimited"}
    assert (key.json()["role"], key.headers["x-tenant"]) == ("admin", "default")


def test_a_tenant_that_is_there_keeps_its_plan(server: Server, tmp_path: Path) -> None:
    def there(request: Received) -> Reply:
        return problem(409, "conflict", "Taken.") if request.path == "/api/admin/tenants" else empty(request)

    server.answer = there

    made = ensure_credentials(tmp_path / "credentials.json", server.url, "operator")

    assert made.api_key == "qk_live_new"
    assert server.paths() == ["/api/admin/tenants", "/api/keys"]


def test_a_key_that_works_is_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    made = ensure_credentials(path, server.url, "operator")
    server.answer = lambda _: Reply(200, {"collections": []})
    server.received.clear()

    assert ensure_credentials(path, server.url, "operator") == made
    assert server.paths() == ["/api/collections"]


def test_a_key_that_is_refused_is_made_anew(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    ensure_credentials(path, server.url, "operator")
    server.received.clear()

    ensure_credentials(path, server.url, "operator")

    assert server.paths() == ["/api/collections", "/api/admin/tenants", "/api/keys"]
