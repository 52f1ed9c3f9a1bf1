"""What each operation of tenants, keys, usage and audit sends, and what it makes of the answer."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from libs.client.tests.http_server import Reply, running_server
from libs.client.tests.platform import NOW

from quarry_client import AsyncClient, Client, calls

ID = UUID(int=5)
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)
TENANT = {
    "id": str(ID), "slug": "acme", "name": "Acme", "created_at": NOW, "plan": "business", "state": "deleting",
    "quotas": {
        "documents": 7, "storage_mb": 8, "searches_per_day": None, "keys": 9, "webhooks": 10,
        "requests_per_second": 11, "burst": 12,
    },
    "quota_changes": {"documents": 7, "searches_per_day": None, "of_a_newer_server": 3},
    "cors_origins": ["https://acme.example"], "purge_at": NOW,
}  # fmt: skip
KEY = {
    "id": str(ID), "name": "app", "prefix": "qk_live_ab", "label": "live", "scopes": ["search"],
    "created_at": NOW, "metadata": {}, "collections": ["law"], "networks": ["10.0.0.0/8"],
    "principals": ["staff"], "requests_per_second": 5, "rotated_from": str(UUID(int=4)), "last_used_at": NOW,
}  # fmt: skip
MADE = {"key": "qk_live_secret", "api_key": KEY}
ENTRY = {
    "number": 3, "at": NOW, "action": "api_key.created", "target": str(ID), "outcome": "done",
    "actor": {"kind": "key", "key_id": str(ID), "address": "203.0.113.5", "request_id": "r"},
    "before": None, "after": {"scopes": ["search"]}, "previous_hash": "aa", "hash": "bb",
}  # fmt: skip
VERDICT = {"intact": False, "entries": 3, "head_number": 3, "head_hash": "bb", "first_fault": 2, "fault": "x"}
DAY = {
    "day": "2026-01-31", "documents_added": 1, "bytes_added": 2, "chunks": 3, "tokens": 4, "searches": 5,
    "documents": 6, "storage_bytes": 7,
}  # fmt: skip
OWN = {
    "slug": "acme", "name": "Acme", "plan": "business", "quotas": TENANT["quotas"], "created_at": NOW,
    "use": {"documents": 1, "storage_bytes": 2, "searches_today": 3}, "cors_origins": ["*"],
}  # fmt: skip
RECEIPT = {
    "tenant_id": str(ID), "slug": "acme", "requested_at": NOW, "started_at": NOW, "finished_at": None,
    "removed": {"vectors.points": 4}, "left": {"vectors.points": 1}, "verified": False, "audit_entries": 3,
    "audit_head_hash": "bb",
}  # fmt: skip
CASES = [
    (
        lambda c: c.create_tenant("acme", "Acme").plan,
        "POST /api/admin/tenants", {}, {"slug": "acme", "name": "Acme"}, TENANT, "business",
    ),
    (
        lambda c: c.create_tenant(
            "acme", "Acme", plan="starter", quotas={"keys": None, "burst": 0}, cors_origins=[]
        ).quotas.keys,
        "POST /api/admin/tenants",
        {},
        {
            "slug": "acme", "name": "Acme", "plan": "starter", "quotas": {"keys": None, "burst": 0},
            "cors_origins": [],
        },
        TENANT,
        9,
    ),
    (
        lambda c: c.list_tenants(limit=2, cursor="c").tenants[0].state,
        "GET /api/admin/tenants", {"limit": "2", "cursor": "c"}, None, {"tenants": [TENANT]}, "deleting",
    ),
    (
        lambda c: c.get_tenant("acme").quota_changes,
        "GET /api/admin/tenants/acme", {}, None, TENANT, TENANT["quota_changes"],
    ),
    (
        lambda c: c.get_tenant("a/b?").cors_origins,
        "GET /api/admin/tenants/a/b?", {}, None, TENANT, ["https://acme.example"],
    ),
    (
        lambda c: c.update_tenant("acme", quotas={"keys": None}, disabled=False).slug,
        "PATCH /api/admin/tenants/acme", {}, {"quotas": {"keys": None}, "disabled": False}, TENANT, "acme",
    ),
    (
        lambda c: c.delete_tenant("acme").purge_at.isoformat(),
        "DELETE /api/admin/tenants/acme", {}, None, TENANT, "2026-01-02T03:04:05+00:00",
    ),
    (
        lambda c: c.delete_tenant("acme", grace_seconds=0).id,
        "DELETE /api/admin/tenants/acme", {"grace_seconds": "0"}, None, TENANT, ID,
    ),
    (
        lambda c: c.restore_tenant("acme").name,
        "POST /api/admin/tenants/acme/restore", {}, None, TENANT, "Acme",
    ),
    (
        lambda c: (c.purge_receipt("acme").left, c.purge_receipt("acme").finished_at),
        "GET /api/admin/tenants/acme/purge", {}, None, RECEIPT, ({"vectors.points": 1}, None),
    ),
    (
        lambda c: c.own_tenant().use.searches_today,
        "GET /api/tenant", {}, None, OWN, 3,
    ),
    (
        lambda c: c.update_own_tenant(cors_origins=["*"]).cors_origins,
        "PATCH /api/tenant", {}, {"cors_origins": ["*"]}, OWN, ["*"],
    ),
    (
        lambda c: c.create_key("app", role="editor").key,
        "POST /api/keys", {}, {"name": "app", "role": "editor", "label": "live"}, MADE, "qk_live_secret",
    ),
    (
        lambda c: c.create_key(
            "app", scopes=["search"], label="test", expires_at=MOMENT, metadata={"a": "1"},
            collections=["law"], networks=["10.0.0.0/8"], principals=["staff"], requests_per_second=5,
        ).api_key.rotated_from,
        "POST /api/keys",
        {},
        {
            "name": "app", "scopes": ["search"], "label": "test", "expires_at": "2026-01-31T12:00:00Z",
            "metadata": {"a": "1"}, "collections": ["law"], "networks": ["10.0.0.0/8"],
            "principals": ["staff"], "requests_per_second": 5,
        },
        MADE,
        UUID(int=4),
    ),
    (
        lambda c: c.create_key("none", scopes=["search"], collections=[]).key,
        "POST /api/keys",
        {},
        {"name": "none", "scopes": ["search"], "label": "live", "collections": []},
        MADE,
        "qk_live_secret",
    ),
    (
        lambda c: c.list_keys(limit=2, cursor="c").keys[0].principals,
        "GET /api/keys", {"limit": "2", "cursor": "c"}, None, {"keys": [KEY]}, ["staff"],
    ),
    (lambda c: c.get_key(ID).networks, f"GET /api/keys/{ID}", {}, None, KEY, ["10.0.0.0/8"]),
    (
        lambda c: [(each.day, each.denied) for each in c.key_usage(ID).days],
        f"GET /api/keys/{ID}/usage",
        {},
        None,
        {"key_id": str(ID), "last_used_at": NOW, "days": [{"day": "2026-01-31", "requests": 3, "denied": 1}]},
        [(LAST, 1)],
    ),
    (lambda c: c.rotate_key(ID).key, f"POST /api/keys/{ID}/rotate", {}, {}, MADE, "qk_live_secret"),
    (
        lambda c: c.rotate_key(ID, overlap_seconds=0).api_key.id,
        f"POST /api/keys/{ID}/rotate", {}, {"overlap_seconds": 0}, MADE, ID,
    ),
    (
        lambda c: c.verify_key("qk_live_x").code,
        "POST /api/keys/verify", {}, {"key": "qk_live_x"}, {"valid": False, "code": "unknown"}, "unknown",
    ),
    (
        lambda c: c.revoke_key(ID).revoked_at is not None,
        f"DELETE /api/keys/{ID}", {}, None, KEY | {"revoked_at": NOW}, True,
    ),
    (
        lambda c: c.usage(first=FIRST, last=LAST).days[0].tokens,
        "GET /api/usage", {"first": "2026-01-01", "last": "2026-01-31"}, None,
        {"tenant": "acme", "days": [DAY]}, 4,
    ),
    (
        lambda c: c.export_usage(first=FIRST),
        "GET /api/usage", {"format": "csv", "first": "2026-01-01"}, None, b"tenant,day\r\n", "tenant,day\r\n",
    ),
    (
        lambda c: c.export_usage("ndjson", last=LAST),
        "GET /api/usage", {"format": "ndjson", "last": "2026-01-31"}, None, b"{}\n", "{}\n",
    ),
    (
        lambda c: "".join(c.export_all_usage("ndjson", first=FIRST, last=LAST)),
        "GET /api/admin/usage", {"format": "ndjson", "first": "2026-01-01", "last": "2026-01-31"}, None,
        b"{}\n", "{}\n",
    ),
    (
        lambda c: c.list_audit(action="api_key", outcome="done", limit=2, cursor="c").entries[0].after,
        "GET /api/audit", {"action": "api_key", "outcome": "done", "limit": "2", "cursor": "c"}, None,
        {"entries": [ENTRY], "next_cursor": None}, {"scopes": ["search"]},
    ),
    (lambda c: c.verify_audit().first_fault, "GET /api/audit/verify", {}, None, VERDICT, 2),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "sent", "query", "body", "answer", "told"), CASES)
def test_an_operation_sends_what_it_was_asked_for_and_tells_the_answer(
    ask: Callable[[Client], object],
    sent: str,
    query: dict[str, str],
    body: object,
    answer: Any,
    told: object,
) -> None:
    with running_server(lambda _: Reply(200, answer)) as server, Client(server.url, "secret") as client:
        assert ask(client) == told
        request = server.received[0]

    assert f"{request.method} {request.path}" == sent
    assert request.query == query
    assert (json.loads(request.body) if request.body else None) == body


async def test_the_async_client_does_the_same() -> None:
    with running_server(lambda _: Reply(200, MADE)) as server:
        async with AsyncClient(server.url, "secret", tenant="acme") as client:
            assert (await client.rotate_key(ID, overlap_seconds=60)).key == "qk_live_secret"
    (request,) = server.received
    assert (request.path, request.headers["x-tenant"]) == (f"/api/keys/{ID}/rotate", "acme")
    assert request.json() == {"overlap_seconds": 60}


def test_a_log_that_is_long_has_longer_to_be_verified() -> None:
    assert calls.verify_audit().extra_seconds == 60
