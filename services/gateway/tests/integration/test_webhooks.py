"""Webhooks over HTTP: what is asked of the service, what is answered, and what is written down."""

import asyncio
from uuid import UUID, uuid4

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from quarry_common.contracts.audit import AuditAct
from quarry_common.contracts.events import WEBHOOK_TYPES
from quarry_common.contracts.tenancy import PLATFORM_TENANT, Scope
from quarry_common.contracts.webhooks import (
    CreateEndpoint,
    DeliveryRef,
    DeliveryState,
    EndpointChanges,
    EndpointRef,
    ListDeliveries,
    NewEndpoint,
    Overview,
    ReplayKind,
    RotateSecret,
    SendTest,
    StartReplay,
    StatsOf,
    UpdateEndpoint,
)

URL = "https://acme.example/hooks"
RANGE = {"since": "2026-01-30T00:00:00Z"}


@pytest.fixture
async def made(client: httpx.AsyncClient) -> dict[str, object]:
    answer = await client.post("/api/webhooks", json={"url": URL, "headers": {"X-Team": "shop"}})
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["endpoint"])


def acts(backend) -> list[tuple[str, str]]:
    return [(act.action, act.target) for act in backend.acts if act.action.startswith("webhook.")]


async def written(backend, action: str) -> AuditAct:
    """What is written down soon after the answer."""
    async with asyncio.timeout(10):
        while True:
            for act in backend.acts:
                if act.action == action:
                    return act
            await asyncio.sleep(0.02)


async def test_an_endpoint_is_made_with_the_tenants_quota_and_answered_with_its_secret(
    client, backend
) -> None:
    body = {"url": URL, "event_types": ["document.*"], "ordered": True}

    answer = await client.post("/api/webhooks", json=body, headers={"Idempotency-Key": "one"})

    asked = backend.asked[-1]
    assert isinstance(asked, CreateEndpoint)
    assert asked.endpoint == NewEndpoint(URL, event_types=["document.*"], ordered=True)
    assert (asked.tenant_id, asked.limit, asked.idempotency_key) == (backend.acme.id, None, "one")
    assert answer.json()["secret"] == "whsec_secret"
    made = answer.json()["endpoint"]["id"]
    assert (answer.headers["location"], answer.headers["etag"]) == (f"/api/webhooks/{made}", '"1"')


async def test_what_is_written_down_holds_no_secret(client, backend, made) -> None:
    (act,) = [act for act in backend.acts if act.action == "webhook.created"]

    assert (act.tenant_id, act.target, act.before) == (backend.acme.id, made["id"], None)
    assert act.after["url"] == URL
    assert act.after["header_names"] == ["X-Team"]
    assert not any(word in str(act.after) for word in ("whsec", "shop"))


async def test_endpoints_are_read_and_listed(client, made) -> None:
    read = await client.get(f"/api/webhooks/{made['id']}")
    listed = await client.get("/api/webhooks")

    assert (read.json(), read.headers["etag"]) == (made, '"1"')
    assert listed.json() == {"endpoints": [made], "next_cursor": None}


async def test_a_change_tells_before_and_after(client, backend, made) -> None:
    body = {"enabled": False, "requests_per_second": None}

    answer = await client.patch(f"/api/webhooks/{made['id']}", json=body)

    (asked,) = [each for each in backend.asked if isinstance(each, UpdateEndpoint)]
    assert asked.changes == EndpointChanges(enabled=False, requests_per_second=None)
    assert (asked.ref.endpoint_id, asked.ref.revision) == (UUID(made["id"]), None)
    assert (answer.json()["revision"], answer.headers["etag"]) == (2, '"2"')
    act = backend.acts[-1]
    assert (act.action, act.before["enabled"], act.after["enabled"]) == ("webhook.updated", True, False)


@pytest.mark.parametrize(("tags", "named"), [('"1"', 1), ('"7", "1"', 1), ("*", None)])
async def test_what_if_match_names_may_be_changed(client, backend, made, tags, named) -> None:
    answer = await client.patch(f"/api/webhooks/{made['id']}", json={}, headers={"If-Match": tags})

    assert answer.status_code == 200
    (asked,) = [each for each in backend.asked if isinstance(each, UpdateEndpoint)]
    assert asked.ref.revision == named


@pytest.mark.parametrize(
    ("method", "more", "body"), [("PATCH", "", {}), ("DELETE", "", None), ("POST", "/rotate-secret", {})]
)
async def test_another_revision_is_left_alone(client, backend, made, method, more, body) -> None:
    answer = await client.request(
        method, f"/api/webhooks/{made['id']}{more}", json=body, headers={"If-Match": '"7"'}
    )

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
    assert not [each for each in backend.asked if isinstance(each, UpdateEndpoint | RotateSecret)]


async def test_a_deleted_endpoint_is_written_down_as_it_was(client, backend, made) -> None:
    answer = await client.delete(f"/api/webhooks/{made['id']}")

    assert answer.json() == made
    assert (backend.acts[-1].action, backend.acts[-1].before["url"]) == ("webhook.deleted", URL)


async def test_a_secret_is_rotated_with_an_overlap(client, backend, made) -> None:
    answer = await client.post(
        f"/api/webhooks/{made['id']}/rotate-secret",
        json={"overlap_hours": 2},
        headers={"Idempotency-Key": "r"},
    )

    asked = next(each for each in backend.asked if isinstance(each, RotateSecret))
    assert (asked.overlap_hours, asked.secret, asked.idempotency_key) == (2.0, None, "r")
    assert answer.json()["secret"] == "whsec_another"
    assert "whsec" not in str(backend.acts[-1])


async def test_tests_and_redeliveries_are_asked_for_and_written_down(client, backend, made) -> None:
    place, delivery = f"/api/webhooks/{made['id']}", uuid4()

    sent = await client.post(f"{place}/test", headers={"Idempotency-Key": "t"})
    again = await client.post(f"{place}/deliveries/{delivery}/redeliver")

    test = next(each for each in backend.asked if isinstance(each, SendTest))
    redelivery = next(each for each in backend.asked if isinstance(each, DeliveryRef))
    assert (test.ref.endpoint_id, test.idempotency_key) == (UUID(made["id"]), "t")
    assert (redelivery.delivery_id, again.json()["id"]) == (delivery, str(delivery))
    assert (sent.status_code, again.status_code) == (202, 202)
    assert sent.headers["location"] == f"{place}/deliveries/{sent.json()['id']}"
    assert acts(backend)[1:] == [("webhook.tested", made["id"]), ("webhook.redelivered", made["id"])]


async def test_deliveries_are_listed_as_narrowed(client, backend, made) -> None:
    query = {"state": "failed", "event_type": "job.*", "since": "2026-01-30T00:00:00Z", "limit": "7"}

    answer = await client.get(f"/api/webhooks/{made['id']}/deliveries", params=query)

    assert answer.status_code == 200
    asked = next(each for each in backend.asked if isinstance(each, ListDeliveries))
    assert (asked.states, asked.event_types, asked.limit) == ([DeliveryState.FAILED], ["job.*"], 7)
    assert (str(asked.since), asked.until) == ("2026-01-30 00:00:00+00:00", None)


async def test_a_delivery_is_shown_with_what_is_sent(client, made) -> None:
    answer = await client.get(f"/api/webhooks/{made['id']}/deliveries/{uuid4()}")

    assert answer.json()["payload"] == {"id": "an-event"}


@pytest.mark.parametrize(
    ("path", "kind", "action"),
    [("recover", ReplayKind.RECOVER, "webhook.recovered"), ("replay", ReplayKind.REPLAY, "webhook.replayed")],
)
async def test_ranges_are_replayed(client, backend, made, path, kind, action) -> None:
    answer = await client.post(f"/api/webhooks/{made['id']}/{path}", json=RANGE)

    asked = next(each for each in backend.asked if isinstance(each, StartReplay))
    assert (asked.kind, (asked.until - asked.since).days) == (kind, 14)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/webhooks/{made['id']}/replays/{answer.json()['id']}"
    assert (await client.get(answer.headers["location"])).json()["state"] == "queued"
    assert acts(backend)[-1] == (action, made["id"])


async def test_statistics_are_those_of_the_hours_asked_for(client, backend, made) -> None:
    answer = await client.get(f"/api/webhooks/{made['id']}/stats", params={"hours": 48})

    assert next(each for each in backend.asked if isinstance(each, StatsOf)).hours == 48
    assert answer.json()["total"]["success_rate"] == 0.5


async def test_the_catalogue_holds_every_type_with_an_example_that_fits(client) -> None:
    entries = (await client.get("/api/webhooks/event-types")).json()["event_types"]

    assert [entry["type"] for entry in entries] == sorted(WEBHOOK_TYPES)
    for entry in entries:
        assert entry["description"]
        jsonschema.validate(entry["example"], entry["schema"])


async def test_the_operator_sees_all_and_a_tenant_does_not(client, http, backend, made) -> None:
    assert (await client.get("/api/admin/webhooks")).status_code == 403
    http.headers["X-API-Key"] = backend.key(operator=True)

    answer = await http.get("/api/admin/webhooks", params={"only": "failing"})

    assert (answer.json()["pending"], answer.json()["held"]) == (3, 2)
    assert answer.json()["endpoints"] == [{"tenant_id": str(backend.acme.id), "endpoint": made}]
    assert next(each for each in backend.asked if isinstance(each, Overview)).only_failing


READS = ("", "/deliveries", "/stats")
WRITES = ("/test", "/rotate-secret", "/recover", "/replay")


async def test_reading_needs_one_scope_and_changing_the_other(http, client, backend, made) -> None:
    place = f"/api/webhooks/{made['id']}"
    for scope, reads, writes in ((Scope.WEBHOOKS_READ, 200, 403), (Scope.WEBHOOKS_WRITE, 403, 200)):
        http.headers["X-API-Key"] = backend.key(scope)
        for path in READS:
            assert (await http.get(place + path)).status_code == reads
        for path in WRITES:
            answer = await http.post(place + path, json=RANGE if path in {"/recover", "/replay"} else {})
            assert (answer.status_code == 403) == (writes == 403), path


async def test_another_tenants_endpoint_is_not_found_and_the_attempt_is_written_down(
    http, client, backend, made
) -> None:
    http.headers["X-API-Key"] = backend.key(tenant=backend.other)

    answer = await http.get(f"/api/webhooks/{made['id']}")

    assert answer.status_code == 404
    assert isinstance(backend.asked[-1], EndpointRef)
    act = await written(backend, "webhook.reached_for")
    assert (act.tenant_id, act.target) == (PLATFORM_TENANT, made["id"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": URL, "event_types": []}, "event_types"),
        ({"url": URL, "event_types": ["Document.*"]}, "event_types[0]"),
        ({"url": URL, "requests_per_second": 0}, "requests_per_second"),
        ({"url": URL, "secret": "guess"}, "secret"),
        ({"url": URL, "nope": 1}, "nope"),
    ],
)
async def test_what_is_wrong_is_told_by_its_field(client, body, field) -> None:
    answer = await client.post("/api/webhooks", json=body)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
