"""Commands and operations of webhooks."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from click.testing import Result
from libs.client.tests.http_server import Reply, Server, running_server
from libs.client.tests.platform import NOW

from quarry_client import AsyncClient, Client, calls

Quarry = Callable[..., Result]
ID, OTHER = UUID(int=7), UUID(int=8)
PLACE = f"/api/webhooks/{ID}"
SINCE = datetime(2026, 1, 30, tzinfo=UTC)
HOOK = {
    "id": str(ID), "url": "https://acme.example/hooks", "description": "the shop",
    "event_types": ["document.*"], "header_names": ["X-Team"], "enabled": True, "disabled_reason": None,
    "disabled_at": None, "ordered": False, "requests_per_second": None, "circuit": "closed",
    "circuit_until": None, "failing_since": None, "last_delivered_at": NOW, "secret_expires_at": None,
    "pending": 3, "held": 2, "created_at": NOW, "updated_at": NOW, "revision": 4,
}  # fmt: skip
SECRET = {"endpoint": HOOK, "secret": "whsec_secret"}
DELIVERY = {
    "id": str(OTHER), "endpoint_id": str(ID), "webhook_id": "an-event", "event_type": "document.indexed",
    "subject": "a-document", "state": "failed", "attempts": 1, "created_at": NOW, "next_attempt_at": None,
    "delivered_at": None, "last_outcome": "refused", "last_status": 500,
}  # fmt: skip
ATTEMPT = {
    "number": 1, "started_at": NOW, "duration_ms": 12.4, "outcome": "refused", "status": 500,
    "detail": "It answered 500.", "response_headers": {}, "response_excerpt": "oops", "url": HOOK["url"],
    "request_headers": {},
}  # fmt: skip
DETAIL = {"delivery": DELIVERY, "payload": {"type": "document.indexed"}, "attempts": [ATTEMPT]}
REPLAY = {
    "id": str(OTHER), "endpoint_id": str(ID), "kind": "replay", "state": "running", "since": NOW,
    "until": NOW, "event_types": ["*"], "examined": 10, "matched": 5, "created_at": NOW, "finished_at": None,
    "error": "",
}  # fmt: skip
HOUR = {
    "hour": NOW, "attempts": 4, "delivered": 3, "failed": 1, "success_rate": 0.75, "p50_ms": 10.0,
    "p95_ms": 99.6,
}  # fmt: skip
STATS = {"total": HOUR, "hours": [HOUR]}
TYPES = {"event_types": [{"type": "job.failed", "description": "A job failed.", "schema": {}, "example": {}}]}
OVERVIEW = {
    "pending": 3, "held": 2, "oldest_due_at": None, "next_cursor": None,
    "endpoints": [{"tenant_id": str(OTHER), "endpoint": HOOK}],
}  # fmt: skip
RANGE = {"since": "2026-01-30T00:00:00Z"}
CASES: list[tuple[Callable[[Any], Any], str, dict[str, str], object, object, object]] = [
    (
        lambda c: c.create_webhook("https://a.example", event_types=["*"], headers={"X": "y"}).secret,
        "POST /api/webhooks", {},
        {"url": "https://a.example", "event_types": ["*"], "headers": {"X": "y"}, "enabled": True,
         "ordered": False},
        SECRET, "whsec_secret",
    ),
    (
        lambda c: c.list_webhooks(limit=3, cursor="x").endpoints[0].id,
        "GET /api/webhooks", {"limit": "3", "cursor": "x"}, None, {"endpoints": [HOOK]}, ID,
    ),
    (lambda c: c.get_webhook(ID).held, f"GET {PLACE}", {}, None, HOOK, 2),
    (
        lambda c: c.update_webhook(ID, enabled=False, headers={}, if_match=4).revision,
        f"PATCH {PLACE}", {}, {"enabled": False, "headers": {}}, HOOK, 4,
    ),
    (
        lambda c: c.update_webhook(ID, requests_per_second=None).url,
        f"PATCH {PLACE}", {}, {"requests_per_second": None}, HOOK, HOOK["url"],
    ),
    (lambda c: c.delete_webhook(ID).id, f"DELETE {PLACE}", {}, None, HOOK, ID),
    (
        lambda c: c.rotate_webhook_secret(ID, overlap_hours=2).secret,
        f"POST {PLACE}/rotate-secret", {}, {"overlap_hours": 2}, SECRET, "whsec_secret",
    ),
    (lambda c: c.send_webhook_test(ID).id, f"POST {PLACE}/test", {}, None, DELIVERY, OTHER),
    (
        lambda c: c.list_deliveries(ID, state="failed", since=SINCE).deliveries[0].last_status,
        f"GET {PLACE}/deliveries", {"state": "failed", "since": "2026-01-30T00:00:00+00:00", "limit": "50"},
        None, {"deliveries": [DELIVERY]}, 500,
    ),
    (
        lambda c: c.get_delivery(ID, OTHER).payload["type"],
        f"GET {PLACE}/deliveries/{OTHER}", {}, None, DETAIL, "document.indexed",
    ),
    (
        lambda c: c.redeliver(ID, OTHER).webhook_id,
        f"POST {PLACE}/deliveries/{OTHER}/redeliver", {}, None, DELIVERY, "an-event",
    ),
    (
        lambda c: c.recover_webhook(ID, since=SINCE).state,
        f"POST {PLACE}/recover", {}, RANGE, REPLAY, "running",
    ),
    (
        lambda c: c.replay_webhook(ID, since=SINCE, event_types=["job.*"]).matched,
        f"POST {PLACE}/replay", {}, {**RANGE, "event_types": ["job.*"]}, REPLAY, 5,
    ),
    (lambda c: c.get_replay(ID, OTHER).examined, f"GET {PLACE}/replays/{OTHER}", {}, None, REPLAY, 10),
    (
        lambda c: c.webhook_stats(ID, hours=48).total.success_rate,
        f"GET {PLACE}/stats", {"hours": "48"}, None, STATS, 0.75,
    ),
    (
        lambda c: c.list_event_types().event_types[0].type,
        "GET /api/webhooks/event-types", {}, None, TYPES, "job.failed",
    ),
    (
        lambda c: c.webhooks_overview(only_failing=True).endpoints[0].tenant_id,
        "GET /api/admin/webhooks", {"only": "failing", "limit": "50"}, None, OVERVIEW, OTHER,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "line", "query", "body", "answer", "wanted"), CASES)
def test_each_operation_sends_what_it_says_and_reads_the_answer(
    ask: Callable[[Any], Any], line: str, query: dict[str, str], body: object, answer: object, wanted: object
) -> None:
    with running_server(lambda _: Reply(200, answer)) as server, Client(server.url, "key") as client:
        assert ask(client) == wanted

    (received,) = server.received
    assert f"{received.method} {received.path}" == line
    assert received.query == query
    assert (json.loads(received.body) if received.body else None) == body
    if received.method == "POST":
        assert received.headers["idempotency-key"]


def test_both_clients_have_the_same_operations() -> None:
    assert all(
        hasattr(client, name)
        for name in calls.__all__
        if "webhook" in name
        for client in (Client, AsyncClient)
    )


def test_a_revision_is_a_condition() -> None:
    assert calls.update_webhook(ID, if_match=4).headers == {"If-Match": '"4"'}
    assert calls.delete_webhook(ID, if_match=4).headers == {"If-Match": '"4"'}


def test_the_secret_is_printed_alone_on_the_output(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(201, SECRET)

    made = quarry(
        "webhooks", "create", "https://a.example", "--event", "job.*", "--header", "X-Team=a=b", "--ordered",
        "--disabled",
    )  # fmt: skip

    assert made.stdout == "whsec_secret\n"
    assert str(ID) in made.stderr
    assert served.received[0].json() == {
        "url": "https://a.example", "event_types": ["job.*"], "headers": {"X-Team": "a=b"}, "enabled": False,
        "ordered": True,
    }  # fmt: skip


def test_a_rotation_prints_the_new_secret(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, SECRET)

    assert quarry("webhooks", "rotate", str(ID), "--overlap-hours", "0").stdout == "whsec_secret\n"
    assert served.received[0].json() == {"overlap_hours": 0.0}


def test_endpoints_are_listed_and_shown(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(
        200, {"endpoints": [HOOK, HOOK | {"enabled": False, "disabled_reason": "gone"}]}
    )
    listed, as_json = quarry("webhooks", "list"), quarry("webhooks", "list", "--json")
    served.answer = lambda _: Reply(200, HOOK | {"failing_since": NOW})
    shown = quarry("webhooks", "show", str(ID))

    assert all(text in listed.stdout for text in (str(ID), "document.*", "enabled", "disabled (gone)"))
    assert json.loads(as_json.stdout)["endpoints"][0]["id"] == str(ID)
    assert all(text in shown.stdout for text in ("failing", "X-Team", "the shop"))


def test_what_is_not_named_stays(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, HOOK)

    quarry("webhooks", "update", str(ID), "--disable", "--requests-per-second", "0", "--no-headers")
    quarry("webhooks", "update", str(ID), "--endpoint", "https://b.example", "--unordered")

    first, second = (received.json() for received in served.received)
    assert first == {"enabled": False, "requests_per_second": None, "headers": {}}
    assert second == {"url": "https://b.example", "ordered": False}


def test_deliveries_are_listed_and_one_is_shown_with_its_attempts(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, {"deliveries": [DELIVERY]})
    listed = quarry("webhooks", "deliveries", str(ID), "--state", "failed", "--event", "document.*")
    served.answer = lambda _: Reply(200, DETAIL)
    shown = quarry("webhooks", "delivery", str(ID), str(OTHER))

    assert all(text in listed.stdout for text in (str(OTHER), "document.indexed", "refused 500"))
    assert served.received[0].query["event_type"] == "document.*"
    assert all(
        text in shown.stdout for text in ("an-event", "It answered 500.", '"type": "document.indexed"')
    )


def test_what_is_asked_for_is_told_by_its_id(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(202, DELIVERY)

    for command in (("test", str(ID)), ("redeliver", str(ID), str(OTHER))):
        asked = quarry("webhooks", *command)
        assert asked.stdout == f"{OTHER}\n"
        assert f"quarry webhooks delivery {ID} {OTHER}" in asked.stderr


def test_ranges_are_made_again(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(202, REPLAY)

    for command in ("recover", "replay"):
        assert "running" in quarry("webhooks", command, str(ID), "--since", "2026-01-30").stdout
    assert "running" in quarry("webhooks", "replay", str(ID), "--show", str(OTHER)).stdout

    assert [received.path for received in served.received] == [
        f"{PLACE}/recover", f"{PLACE}/replay", f"{PLACE}/replays/{OTHER}",
    ]  # fmt: skip
    assert served.received[0].json() == RANGE
    assert quarry("webhooks", "replay", str(ID)).exit_code == 2


def test_statistics_and_types_are_shown(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, STATS)
    stats = quarry("webhooks", "stats", str(ID))
    served.answer = lambda _: Reply(200, TYPES)
    types, as_json = quarry("webhooks", "event-types"), quarry("webhooks", "event-types", "--json")

    assert all(text in stats.stdout for text in ("75.0%", "100 ms", "in all"))
    assert "A job failed." in types.stdout
    assert json.loads(as_json.stdout)["event_types"][0]["type"] == "job.failed"


def test_an_endpoint_is_deleted(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, HOOK)

    assert quarry("webhooks", "delete", str(ID)).stdout == f"Deleted {ID}.\n"


def test_the_asynchronous_client_does_the_same() -> None:
    async def read(url: str) -> int:
        async with AsyncClient(url, "key") as client:
            return (await client.get_webhook(ID)).pending

    with running_server(lambda _: Reply(200, HOOK)) as server:
        assert asyncio.run(read(server.url)) == 3
