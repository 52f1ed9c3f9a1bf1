from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from services.webhooks.tests.integration.answering.conftest import Connection, Tenant, delivery

from quarry_common.contracts.webhooks import (
    ENDPOINT_STATS,
    GET_DELIVERY,
    GET_REPLAY,
    LIST_DELIVERIES,
    REDELIVER,
    START_REPLAY,
    WEBHOOKS_OVERVIEW,
    DeliveryRef,
    DeliveryState,
    Endpoint,
    ListDeliveries,
    Outcome,
    Overview,
    ReplayKind,
    ReplayRef,
    ReplayState,
    StartReplay,
    StatsOf,
)
from quarry_common.errors import RemoteError
from quarry_webhooks.domain.replays import MOST_OPEN
from quarry_webhooks.repository.deliveries import FORCED_AT_ONCE

NOW = datetime.now(UTC)


async def listed(tenant: Tenant, endpoint: Endpoint, **narrowed: object) -> list[UUID]:
    asked = ListDeliveries(ref=tenant.ref(endpoint), **narrowed)  # type: ignore[arg-type]
    return [each.id for each in (await tenant.rpc.call(LIST_DELIVERIES, asked)).deliveries]


async def test_a_test_is_due_at_once_though_its_endpoint_is_disabled(
    tenant: Tenant, admin: Connection
) -> None:
    endpoint = await tenant.endpoint(event_types=["job.failed"])

    sent = await tenant.test(endpoint)

    detail = await tenant.rpc.call(GET_DELIVERY, DeliveryRef(tenant.ref(endpoint), sent.id))
    assert (sent.event_type, sent.state, sent.subject) == ("webhook.test", "pending", str(endpoint.id))
    assert detail.delivery == sent
    body = msgspec.json.decode(detail.payload)
    assert body.keys() == {"id", "type", "timestamp", "subject", "tenant_id", "data"}
    assert (body["id"], body["type"], body["tenant_id"]) == (sent.webhook_id, "webhook.test", str(tenant.id))
    due = await admin.fetchval("SELECT due_at FROM queues WHERE endpoint_id = $1", endpoint.id)
    assert due == sent.next_attempt_at


async def test_who_delivers_is_woken_by_a_test(tenant: Tenant, admin: Connection) -> None:
    endpoint, woken = await tenant.endpoint(), list[object]()
    await admin.add_listener("webhooks_due", lambda *args: woken.append(args[-1]))

    await tenant.test(endpoint)
    await admin.execute("SELECT 1")

    assert woken == [str(tenant.id)]


async def test_a_test_is_sent_once_under_its_key(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint()

    assert await tenant.test(endpoint, "t") == await tenant.test(endpoint, "t")
    assert len(await listed(tenant, endpoint)) == 1


async def test_what_is_forced_is_bounded(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    for _ in range(FORCED_AT_ONCE):
        await delivery(admin, endpoint, tenant, "pending")
    await admin.execute("UPDATE deliveries SET forced = true WHERE endpoint_id = $1", endpoint.id)

    with pytest.raises(RemoteError) as caught:
        await tenant.test(endpoint)

    assert caught.value.data.status == 409


async def test_deliveries_are_listed_latest_first_in_pages(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    made = [await delivery(admin, endpoint, tenant, "delivered") for _ in range(5)]

    found, cursor = [], None
    while True:
        asked = ListDeliveries(ref=tenant.ref(endpoint), limit=2, cursor=cursor)
        page = await tenant.rpc.call(LIST_DELIVERIES, asked)
        found += [each.id for each in page.deliveries]
        if (cursor := page.next_cursor) is None:
            break

    assert found == made[::-1]


async def test_deliveries_are_narrowed_by_state_type_and_time(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    failed = await delivery(admin, endpoint, tenant, "failed", event_type="job.failed")
    old = await delivery(admin, endpoint, tenant, "delivered", created_at=NOW - timedelta(days=3))
    held = await delivery(admin, endpoint, tenant, "held")

    assert await listed(tenant, endpoint, states=[DeliveryState.FAILED]) == [failed]
    states = [DeliveryState.FAILED, DeliveryState.HELD]
    assert await listed(tenant, endpoint, states=states) == [held, failed]
    assert await listed(tenant, endpoint, event_types=["job.*"]) == [failed]
    assert await listed(tenant, endpoint, event_types=["document.indexed"]) == [held, old]
    assert await listed(tenant, endpoint, event_types=["*"]) == [held, old, failed]
    assert await listed(tenant, endpoint, until=NOW - timedelta(days=1)) == [old]
    assert await listed(tenant, endpoint, since=NOW - timedelta(days=1)) == [held, failed]


async def test_attempts_are_shown_latest_first(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    made = await delivery(admin, endpoint, tenant, "failed", attempts=60)
    await admin.execute(
        """
        INSERT INTO attempts (delivery_id, number, tenant_id, started_at, duration_ms, outcome, status,
            detail, url, request_headers, response_headers, response_excerpt)
        SELECT $1, n, $2, now(), 12.5, 'refused', 500, 'It answered 500.', $3, '{"webhook-id": "x"}',
            '{"server": "y"}', 'oops'
        FROM generate_series(1, 60) n
        """,
        made,
        tenant.id,
        endpoint.url,
    )

    detail = await tenant.rpc.call(GET_DELIVERY, DeliveryRef(tenant.ref(endpoint), made))

    assert [each.number for each in detail.attempts] == list(range(60, 10, -1))
    last = detail.attempts[0]
    assert (last.outcome, last.status, last.duration_ms) == (Outcome.REFUSED, 500, 12.5)
    assert (last.request_headers, last.response_headers) == ({"webhook-id": "x"}, {"server": "y"})


@pytest.mark.parametrize("state", ["delivered", "failed", "held", "expired", "pending"])
async def test_any_delivery_can_be_made_again_at_once(tenant: Tenant, admin: Connection, state: str) -> None:
    endpoint = await tenant.endpoint()
    made = await delivery(admin, endpoint, tenant, state)

    again = await tenant.rpc.call(REDELIVER, DeliveryRef(tenant.ref(endpoint), made))

    row = await admin.fetchrow("SELECT * FROM deliveries WHERE id = $1", made)
    assert row is not None
    assert (again.id, again.state, again.webhook_id) == (made, "pending", str(row["message_id"]))
    assert (row["forced"], row["step"], row["next_attempt_at"] <= datetime.now(UTC)) == (True, 0, True)
    due = await admin.fetchval("SELECT due_at FROM queues WHERE endpoint_id = $1", endpoint.id)
    assert due == row["next_attempt_at"]


async def test_what_is_not_kept_cannot_be_made_again(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    made = await delivery(admin, endpoint, tenant, "delivered")
    await admin.execute("DELETE FROM messages WHERE tenant_id = $1", tenant.id)

    with pytest.raises(RemoteError) as caught:
        await tenant.rpc.call(REDELIVER, DeliveryRef(tenant.ref(endpoint), made))
    detail = await tenant.rpc.call(GET_DELIVERY, DeliveryRef(tenant.ref(endpoint), made))

    assert caught.value.data.status == 409
    assert bytes(detail.payload) == b"null"


async def test_a_delivery_belongs_to_its_endpoint_and_tenant(
    tenant: Tenant, stranger: Tenant, admin: Connection
) -> None:
    endpoint, other, theirs = await tenant.endpoint(), await tenant.endpoint(), await stranger.endpoint()
    made = await delivery(admin, endpoint, tenant, "failed")

    for ref in (tenant.ref(other), stranger.ref(theirs), stranger.ref(endpoint)):
        for method in (GET_DELIVERY, REDELIVER):
            with pytest.raises(RemoteError) as caught:
                await tenant.rpc.call(method, DeliveryRef(ref, made))  # type: ignore[arg-type]
            assert caught.value.data.status == 404


async def replay(
    tenant: Tenant, endpoint: Endpoint, since: datetime, until: datetime, **more: object
) -> object:
    asked = StartReplay(
        ref=tenant.ref(endpoint),
        since=since,
        until=until,
        **{"kind": ReplayKind.REPLAY, **more},  # type: ignore[arg-type]
    )
    return await tenant.rpc.call(START_REPLAY, asked)


async def test_a_replay_is_stored_to_be_done_up_to_now_at_most(tenant: Tenant) -> None:
    endpoint = await tenant.endpoint(event_types=["job.*"])
    asked = StartReplay(
        ref=tenant.ref(endpoint),
        kind=ReplayKind.RECOVER,
        since=NOW - timedelta(days=1),
        until=NOW + timedelta(days=1),
        idempotency_key="replay",
    )

    started, again = [await tenant.rpc.call(START_REPLAY, asked) for _ in range(2)]

    assert started == again
    assert (started.kind, started.event_types) == (ReplayKind.RECOVER, ["job.*"])
    assert started.until <= datetime.now(UTC)
    found = await tenant.rpc.call(GET_REPLAY, ReplayRef(tenant.ref(endpoint), started.id))
    assert found.id == started.id
    assert found.state in set(ReplayState)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        (NOW, NOW - timedelta(hours=1), "until"),
        (NOW - timedelta(days=15), NOW, "since"),
        (NOW - timedelta(days=20), NOW - timedelta(days=19), "since"),
        (NOW + timedelta(days=1), NOW + timedelta(days=2), "since"),
    ],
)
async def test_a_range_that_cannot_be_replayed_is_refused(
    tenant: Tenant, since: datetime, until: datetime, field: str
) -> None:
    endpoint = await tenant.endpoint()

    with pytest.raises(RemoteError) as caught:
        await replay(tenant, endpoint, since, until)

    assert [error.field for error in caught.value.data.errors] == [field]


async def test_replays_that_have_not_ended_are_bounded(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    await admin.execute(
        """
        INSERT INTO replays (id, tenant_id, endpoint_id, kind, state, since, until, event_types, lease_token,
            leased_until)
        SELECT gen_random_uuid(), $1, $2, 'replay', 'running', now(), now(), '{}', gen_random_uuid(),
            now() + interval '1 hour'
        FROM generate_series(1, $3::int)
        """,
        tenant.id,
        endpoint.id,
        MOST_OPEN,
    )

    with pytest.raises(RemoteError) as caught:
        await replay(tenant, endpoint, NOW - timedelta(hours=1), NOW)

    assert caught.value.data.status == 409


async def test_another_tenants_replay_is_not_there(tenant: Tenant, stranger: Tenant) -> None:
    endpoint, theirs = await tenant.endpoint(), await stranger.endpoint()

    for ref in (tenant.ref(endpoint), stranger.ref(theirs)):
        with pytest.raises(RemoteError) as caught:
            await tenant.rpc.call(GET_REPLAY, ReplayRef(ref, uuid4()))
        assert caught.value.data.status == 404


async def test_statistics_come_from_the_rollups(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint()
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for ago, delivered, failed in ((0, 9, 1), (1, 5, 5), (30, 100, 0)):
        at = hour - timedelta(hours=ago)
        await admin.execute(
            "INSERT INTO hours (endpoint_id, hour, tenant_id, delivered, failed) VALUES ($1, $2, $3, $4, $5)",
            endpoint.id, at, tenant.id, delivered, failed,
        )  # fmt: skip
        await admin.execute(
            "INSERT INTO latencies VALUES ($1, $2, 48, $3, $4)",
            endpoint.id, at, tenant.id, delivered,
        )  # fmt: skip

    stats = await tenant.rpc.call(ENDPOINT_STATS, StatsOf(tenant.ref(endpoint), 24))

    assert [(each.delivered, each.failed) for each in stats.hours] == [(5, 5), (9, 1)]
    assert (stats.total.attempts, stats.total.success_rate) == (20, 0.7)
    assert stats.total.p95_ms == pytest.approx(1.1**48, abs=0.01)


async def test_the_operator_sees_endpoints_of_all_those_in_trouble_first(
    tenant: Tenant, stranger: Tenant, admin: Connection
) -> None:
    await admin.execute("DELETE FROM endpoints")
    fine, failing = await tenant.endpoint(enabled=True), await stranger.endpoint(enabled=True)
    gone = await tenant.endpoint(enabled=True)
    await admin.execute("UPDATE queues SET failing_since = now() WHERE endpoint_id = $1", failing.id)
    await admin.execute(
        "UPDATE endpoints SET enabled = false, disabled_reason = 'gone', disabled_at = now() WHERE id = $1",
        gone.id,
    )
    await delivery(admin, gone, tenant, "held")

    found, cursor = [], None
    while True:
        page = await tenant.rpc.call(WEBHOOKS_OVERVIEW, Overview(1, cursor=cursor))
        found += [(each.tenant_id, each.endpoint.id) for each in page.endpoints]
        if (cursor := page.next_cursor) is None:
            break
    troubled = await tenant.rpc.call(WEBHOOKS_OVERVIEW, Overview(10, only_failing=True))

    assert found == [(stranger.id, failing.id), (tenant.id, gone.id), (tenant.id, fine.id)]
    assert [each.endpoint.id for each in troubled.endpoints] == [failing.id, gone.id]
    assert (troubled.held, troubled.oldest_due_at) == (1, None)


async def test_a_cursor_of_another_list_is_refused(tenant: Tenant) -> None:
    with pytest.raises(RemoteError) as caught:
        await tenant.rpc.call(WEBHOOKS_OVERVIEW, Overview(1, cursor="bm9uZTp4"))

    assert caught.value.data.status == 422
