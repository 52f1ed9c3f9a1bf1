"""Another tenant's data does not exist; a key does what its scopes say, and nothing once it is revoked."""

from uuid import UUID

import httpx
import pytest
from tests.platform import ALL_SCOPES, Platform, Tenant, until

from quarry_client.types import MODES

SECRET = "The vault of the northern branch opens with a brass key."


async def test_ids_of_another_tenant_are_unknown_on_every_route(tenant: Tenant, other_tenant: Tenant) -> None:
    await tenant.client.create_collection("private")
    job = await tenant.put("mine", SECRET, collection="private")
    made = await tenant.client.create_key("mine", scopes=["search"])
    hook = (await tenant.client.create_webhook("https://acme.example/", enabled=False)).endpoint
    sent = await tenant.client.send_webhook_test(hook.id)
    intruder = other_tenant.http

    answers = {
        "document": await intruder.get(f"/api/documents/{job.document_id}"),
        "delete": await intruder.delete(f"/api/documents/{job.document_id}"),
        "job": await intruder.get(f"/api/jobs/{job.id}"),
        "collection": await intruder.get("/api/collections/private"),
        "delete collection": await intruder.delete("/api/collections/private"),
        "upload to collection": await intruder.post(
            "/api/documents", json={"title": "x", "collection": "private"}
        ),
        "upsert in collection": await intruder.put(
            "/api/documents/by-external-id/mine", params={"collection": "private"}, json={"title": "x"}
        ),
        "webhook": await intruder.get(f"/api/webhooks/{hook.id}"),
        "test webhook": await intruder.post(f"/api/webhooks/{hook.id}/test"),
        "delete webhook": await intruder.delete(f"/api/webhooks/{hook.id}"),
        "delivery": await intruder.get(f"/api/webhooks/{hook.id}/deliveries/{sent.id}"),
        "revoke key": await intruder.delete(f"/api/keys/{made.api_key.id}"),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 404)
    assert not any(text in answer.text for answer in answers.values() for text in ("vault", tenant.slug))
    assert (await tenant.search("vault")).results[0].document_id == job.document_id
    assert made.api_key.id in {key.id for key in (await tenant.client.list_keys()).keys if not key.revoked_at}


async def test_lists_and_searches_hold_nothing_of_another_tenant(
    tenant: Tenant, other_tenant: Tenant
) -> None:
    job = await tenant.put("mine", SECRET)

    assert (await other_tenant.client.list_documents()).documents == []
    assert (await other_tenant.client.list_jobs()).jobs == []
    assert (await other_tenant.client.list_jobs(document_id=job.document_id)).jobs == []
    assert [each.document_count for each in (await other_tenant.client.list_collections()).collections] == [0]
    assert {key.name for key in (await other_tenant.client.list_keys()).keys} == {"test"}
    for mode in MODES:
        assert (await other_tenant.search(SECRET, mode=mode)).results == []
        by_id = {"document_id": str(job.document_id)}
        assert (await other_tenant.search(SECRET, mode=mode, filters=by_id)).results == []
        either = {"or": [{"external_id": "mine"}, {"not": {"external_id": "mine"}}]}
        assert (await other_tenant.search(SECRET, mode=mode, filters=either)).results == []


async def test_the_same_external_id_is_another_document_in_another_tenant(
    tenant: Tenant, other_tenant: Tenant
) -> None:
    mine = await tenant.put("shared", SECRET)
    theirs = await other_tenant.put("shared", "Nothing of interest.")

    assert mine.document_id != theirs.document_id
    assert (await tenant.search("vault", mode="keyword")).results[0].text == SECRET


async def test_a_cursor_of_another_tenant_shows_only_ones_own(tenant: Tenant, other_tenant: Tenant) -> None:
    for number in range(3):
        await tenant.put(f"mine-{number}", SECRET)
    await other_tenant.put("theirs", "The vault of the southern branch.")
    cursor = (await tenant.search("vault", limit=1)).next_cursor
    page = (await tenant.client.list_documents(limit=1)).next_cursor
    assert cursor
    assert page

    found = await other_tenant.http.post("/api/search", json={"query": "vault", "cursor": cursor})
    listed = await other_tenant.http.get("/api/documents", params={"cursor": page})

    assert found.status_code in {200, 422}
    assert "northern" not in found.text
    assert str(tenant.id) not in listed.text
    assert {each["external_id"] for each in listed.json().get("documents", [])} <= {"theirs"}


async def test_a_revoked_key_is_refused_within_five_seconds(platform: Platform, tenant: Tenant) -> None:
    made = await tenant.client.create_key("short-lived", scopes=["search"])
    async with platform.http(made.key) as holder:

        async def refused() -> bool:
            answer = await holder.post("/api/search", json={"query": "anything"})
            assert answer.status_code in {200, 401}
            return answer.status_code == 401

        assert not await refused()
        await tenant.client.revoke_key(made.api_key.id)

        await until(refused, 5, "the revoked key is refused")


EVENTS = "text/event-stream; charset=utf-8"
NEEDED = {
    "search": ("POST", "/api/search", {"query": "x"}),
    "documents:read": ("GET", "/api/documents", None),
    "documents:write": ("POST", "/api/documents", {"title": "x"}),
    "collections:read": ("GET", "/api/collections", None),
    "collections:write": ("POST", "/api/collections", {"name": "made"}),
    "keys:read": ("GET", "/api/keys", None),
    "tenant:read": ("GET", "/api/usage", None),
    "tenant:write": ("PATCH", "/api/tenant", {"cors_origins": []}),
    "audit:read": ("GET", "/api/audit", None),
    "events:read": ("GET", "/api/events/stream", None),
    "webhooks:read": ("GET", "/api/webhooks", None),
    "webhooks:write": ("POST", "/api/webhooks", {"url": "https://acme.example/", "enabled": False}),
    "analytics:read": ("GET", "/api/admin/analytics/stats", None),
    "analytics:write": ("PUT", "/api/admin/analytics/retention", {"days": None}),
    "keys:write": ("POST", "/api/keys", {"name": "x", "scopes": ["keys:write"]}),
}


def test_every_scope_of_a_tenant_is_tried() -> None:
    assert sorted(NEEDED) == ALL_SCOPES


async def test_a_key_does_what_its_one_scope_says_and_nothing_else(
    platform: Platform, tenant: Tenant
) -> None:
    for held in NEEDED:
        made = await tenant.client.create_key(held, scopes=[held])
        async with platform.http(made.key) as holder:
            for needed, (method, path, body) in NEEDED.items():
                request = holder.build_request(method, path, json=body)
                answer = await holder.send(request, stream=True)  # one of them has no end
                if answer.headers["content-type"] != EVENTS or not answer.is_success:
                    await answer.aread()
                await answer.aclose()
                assert (answer.status_code == 403) == (needed != held), f"{held} asks for {path}"
                assert answer.is_success == (needed == held), f"{held} asks for {path}: {answer.status_code}"


async def test_a_key_cannot_grant_more_than_it_holds(platform: Platform, tenant: Tenant) -> None:
    made = await tenant.client.create_key("maker", scopes=["keys:write", "search"])
    async with platform.http(made.key) as holder:
        answer = await holder.post("/api/keys", json={"name": "more", "scopes": ["documents:read"]})
    assert answer.status_code == 403


async def test_the_operator_acts_for_the_tenant_it_names(platform: Platform, tenant: Tenant) -> None:
    await tenant.put("mine", SECRET)
    async with platform.http(platform.operator_key, tenant.slug) as operator:
        found = await operator.post("/api/search", json={"query": "vault"})
        assert found.json()["results"][0]["text"] == SECRET
        listed = (await operator.get("/api/admin/tenants", params={"limit": 100})).json()
        assert isinstance(listed["tenants"], list)
    async with platform.http(platform.operator_key) as operator:
        assert (await operator.post("/api/search", json={"query": "vault"})).status_code == 422
    async with platform.http(platform.operator_key, "there-is-none") as operator:
        assert (await operator.post("/api/search", json={"query": "vault"})).status_code == 404


async def test_a_tenants_key_is_no_operators(
    platform: Platform, tenant: Tenant, other_tenant: Tenant
) -> None:
    async with platform.http(tenant.key, other_tenant.slug) as pretender:
        assert (await pretender.post("/api/search", json={"query": "x"})).status_code == 403
    for method, path in (("GET", "/api/admin/tenants"), ("GET", f"/api/admin/tenants/{other_tenant.slug}")):
        assert (await tenant.http.request(method, path)).status_code == 403
    made = await tenant.http.post("/api/admin/tenants", json={"slug": "mine", "name": "Mine"})
    assert made.status_code == 403


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "qk_live_nonsense"}, {"Authorization": "Bearer x"}])
async def test_without_a_valid_key_nothing_is_answered(platform: Platform, headers: dict[str, str]) -> None:
    paths = ("/api/documents", "/api/jobs", "/api/collections", "/api/keys", f"/api/documents/{UUID(int=1)}")
    async with httpx.AsyncClient(base_url=platform.url, headers=headers, trust_env=False) as stranger:
        for path in paths:
            assert (await stranger.get(path)).status_code == 401, path
        assert (await stranger.post("/api/search", json={"query": "x"})).status_code == 401
