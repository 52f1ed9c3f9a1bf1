"""What is due reaches its receiver, and what came of it is written."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from quarry_common.contracts.events import WebhookEndpointDisabled, WebhookEndpointFailing, decode_data
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.scheduler import Scheduler
from quarry_webhooks.repository import due

from .conftest import FORMER_SECRET, SECRET, SOON, Clock, World, until, working
from .receivers import Received, Receiver, receiving, status


async def test_a_delivery_is_signed_sent_and_recorded(
    world: World, receiver: Receiver, delivering: None
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url, headers={"Authorization": "Bearer 1"})
    (webhook_id,) = await world.deliveries(tenant_id, endpoint_id)

    await until(lambda: world.all_are(endpoint_id, "delivered", 1))

    (received,) = receiver.received
    Webhook(SECRET).verify(received.body, received.headers)
    assert received.webhook_id == webhook_id
    assert received.headers["content-type"] == "application/json"
    assert received.headers["authorization"] == "Bearer 1"
    assert received.headers["user-agent"].startswith("Quarry-Webhooks/")
    row = await world.admin.fetchrow("SELECT * FROM attempts")
    assert row is not None
    assert (row["number"], row["outcome"], row["status"], row["url"]) == (1, "delivered", 204, receiver.url)
    kept = msgspec.json.decode(row["request_headers"])
    assert kept["webhook-id"] == webhook_id
    assert kept["Authorization"] == "(hidden)"
    assert "webhook-signature" not in kept


async def test_own_headers_cannot_replace_ours(world: World, receiver: Receiver, delivering: None) -> None:
    own = {"Webhook-Id": "mine", "Webhook-Other": "1", "Content-Type": "text/plain", "X-Own": "kept"}
    tenant_id, endpoint_id = await world.endpoint(receiver.url, headers=own)
    await world.deliveries(tenant_id, endpoint_id)

    await until(lambda: world.all_are(endpoint_id, "delivered", 1))

    (received,) = receiver.received
    Webhook(SECRET).verify(received.body, received.headers)
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-own"] == "kept"
    assert "webhook-other" not in received.headers


async def test_both_secrets_sign_during_a_rotation(
    world: World, receiver: Receiver, delivering: None, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.admin.execute(
        "UPDATE endpoints SET previous_secret = $1, previous_until = $2",
        FORMER_SECRET.encode(),
        clock() + timedelta(hours=1),
    )
    await world.deliveries(tenant_id, endpoint_id)
    await until(lambda: world.all_are(endpoint_id, "delivered", 1))
    Webhook(FORMER_SECRET).verify(receiver.received[0].body, receiver.received[0].headers)
    Webhook(SECRET).verify(receiver.received[0].body, receiver.received[0].headers)

    clock.passes(hours=2)
    await world.deliveries(tenant_id, endpoint_id)
    await until(lambda: world.all_are(endpoint_id, "delivered", 2))
    assert receiver.received[1].headers["webhook-signature"].count("v1,") == 1


async def test_what_failed_is_sent_again_under_the_same_id(
    world: World, receiver: Receiver, delivering: None
) -> None:
    async def fail_twice(received: Received) -> web.StreamResponse:
        return web.Response(status=500 if len(receiver.received) <= 2 else 200, text="sorry")

    receiver.answer = fail_twice
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    (webhook_id,) = await world.deliveries(tenant_id, endpoint_id)

    await until(lambda: world.all_are(endpoint_id, "delivered", 1))

    assert receiver.ids() == [webhook_id] * 3
    rows = await world.admin.fetch("SELECT number, status, response_excerpt FROM attempts ORDER BY number")
    assert [tuple(row) for row in rows] == [(1, 500, "sorry"), (2, 500, "sorry"), (3, 200, "sorry")]
    queue = await world.queue(endpoint_id)
    assert (queue["failures"], queue["failing_since"], queue["due_at"]) == (0, None, None)
    hours = await world.admin.fetchrow("SELECT sum(delivered), sum(failed) FROM hours")
    assert hours is not None
    assert tuple(hours) == (1, 2)
    assert await world.admin.fetchval("SELECT sum(answers) FROM latencies") == 3


async def test_after_the_last_attempt_a_delivery_has_failed(
    world: World, receiver: Receiver, delivering: None
) -> None:
    receiver.answer = status(301, Location="https://elsewhere.example")
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id)

    await until(lambda: world.all_are(endpoint_id, "failed", 1))

    assert len(receiver.received) == len(SOON)
    row = await world.admin.fetchrow("SELECT attempts, last_outcome, last_status FROM deliveries")
    assert row is not None
    assert tuple(row) == (4, "refused", 301)
    assert (await world.queue(endpoint_id))["due_at"] is None


async def test_a_retry_is_due_when_the_schedule_says(world: World, receiver: Receiver, tools: Tools) -> None:
    receiver.answer = status(500)
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    async with working(Scheduler(world.database, tools, Rules())):
        await world.deliveries(tenant_id, endpoint_id)

        async def tried() -> bool:
            return bool(await world.admin.fetchval("SELECT attempts = 1 FROM deliveries"))

        await until(tried)
        await until(lambda: world.is_given_back(endpoint_id))

    row = await world.admin.fetchrow("SELECT next_attempt_at, step FROM deliveries")
    ended = await world.admin.fetchval("SELECT started_at FROM attempts")
    assert row is not None
    assert timedelta(seconds=5) <= row["next_attempt_at"] - ended <= timedelta(seconds=7)
    assert row["step"] == 1
    assert (await world.queue(endpoint_id))["due_at"] == row["next_attempt_at"]


async def test_an_endpoint_that_asks_for_patience_gets_it_for_everything(
    world: World, receiver: Receiver, delivering: None, clock: Clock
) -> None:
    receiver.answer = status(429, Retry_After="600")
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id, 20)

    async def waits() -> bool:
        queue = await world.queue(endpoint_id)
        return queue["lease_token"] is None and queue["circuit_until"] is not None

    await until(waits)

    assert len(receiver.received) <= 2
    queue = await world.queue(endpoint_id)
    assert timedelta(minutes=9) < queue["due_at"] - clock() <= timedelta(minutes=10)
    assert queue["due_at"] >= queue["circuit_until"]

    receiver.answer = status(200)
    clock.passes(minutes=11)
    await until(lambda: world.all_are(endpoint_id, "delivered", 20))


async def test_five_failures_in_a_row_open_the_circuit(
    world: World, receiver: Receiver, delivering: None, clock: Clock
) -> None:
    receiver.answer = status(500)
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id, 30)

    async def is_open() -> bool:
        queue = await world.queue(endpoint_id)
        return queue["lease_token"] is None and queue["circuit_until"] is not None

    await until(is_open)
    tried = len(receiver.received)
    assert tried <= 6
    assert await world.admin.fetchval("SELECT count(*) FROM deliveries WHERE attempts = 0") == 30 - tried

    clock.passes(seconds=34)

    async def probed() -> bool:
        return (await world.queue(endpoint_id))["failures"] == 6

    await until(probed)
    await until(lambda: world.is_given_back(endpoint_id))
    assert len(receiver.received) == tried + 1

    receiver.answer = status(200)
    clock.passes(seconds=67)
    await until(lambda: world.all_are(endpoint_id, "delivered", 30))
    assert (await world.queue(endpoint_id))["circuit_until"] is None


@pytest.mark.parametrize(
    ("code", "headers", "reason"), [(410, {}, "gone"), (200, {"webhook_delivery": "disable"}, "requested")]
)
async def test_an_endpoint_that_wants_no_more_gets_no_more(
    world: World, receiver: Receiver, delivering: None, code: int, headers: dict[str, str], reason: str
) -> None:
    receiver.answer = status(code, **headers)
    tenant_id, endpoint_id = await world.endpoint(receiver.url, ordered=True)
    await world.deliveries(tenant_id, endpoint_id, 5)

    async def disabled() -> bool:
        return await world.admin.fetchval("SELECT disabled_reason FROM endpoints") == reason

    await until(disabled)
    await until(lambda: world.is_given_back(endpoint_id))

    assert len(receiver.received) == 1
    assert (await world.states(endpoint_id))[1:] == ["held"] * 4
    (event,) = await world.told(tenant_id)
    told = decode_data(event)
    assert isinstance(told, WebhookEndpointDisabled)
    assert (told.endpoint_id, told.reason) == (endpoint_id, reason)
    assert (await world.queue(endpoint_id))["due_at"] is None


async def test_after_five_days_of_failures_an_endpoint_is_disabled_and_its_owner_was_warned(
    world: World, receiver: Receiver, tools: Tools, clock: Clock
) -> None:
    receiver.answer = status(500)
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    async with working(Scheduler(world.database, tools, Rules(delays_seconds=(0.0,) * 40))):
        await world.deliveries(tenant_id, endpoint_id)

        async def tried_now() -> bool:
            queue = await world.queue(endpoint_id)
            return queue["lease_token"] is None and (queue["due_at"] is None or queue["due_at"] > clock())

        for _ in range(12):
            await until(tried_now)
            clock.passes(hours=12)

        async def disabled() -> bool:
            return await world.admin.fetchval("SELECT disabled_reason FROM endpoints") == "failing"

        await until(disabled)

    assert [type(decode_data(event)) for event in await world.told(tenant_id)] == [
        WebhookEndpointFailing,
        WebhookEndpointFailing,
        WebhookEndpointDisabled,
    ]
    assert await world.states(endpoint_id) == ["held"]


@pytest.mark.parametrize(("reason", "state"), [("owner", "failed"), ("failing", "held")])
async def test_a_forced_attempt_is_made_though_the_endpoint_is_disabled(
    world: World, receiver: Receiver, delivering: None, reason: str, state: str
) -> None:
    receiver.answer = status(500)
    tenant_id, endpoint_id = await world.endpoint(receiver.url, disabled=reason)
    await world.deliveries(tenant_id, endpoint_id, forced=True)

    await until(lambda: world.all_are(endpoint_id, state, 1))

    assert len(receiver.received) == 1


async def test_a_forced_delivery_goes_ahead_of_others_and_through_an_open_circuit(
    world: World, receiver: Receiver, tools: Tools, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url, ordered=True)
    waiting = await world.deliveries(tenant_id, endpoint_id, 3)
    await world.admin.execute(
        "UPDATE queues SET failures = 9, circuit_until = $1", clock() + timedelta(minutes=5)
    )
    (forced,) = await world.deliveries(tenant_id, endpoint_id, forced=True)
    async with working(Scheduler(world.database, tools, Rules())):
        await until(lambda: world.all_are(endpoint_id, "delivered", 4))

    assert receiver.ids() == [forced, *waiting]  # the success has closed the circuit


async def test_an_ordered_endpoint_gets_one_at_a_time_and_the_head_blocks(
    world: World, receiver: Receiver, delivering: None
) -> None:
    async def fail_each_first_time(received: Received) -> web.StreamResponse:
        await asyncio.sleep(0.002)
        return web.Response(status=200 if receiver.ids().count(received.webhook_id) > 1 else 500)

    receiver.answer = fail_each_first_time
    tenant_id, endpoint_id = await world.endpoint(receiver.url, ordered=True)
    made = await world.deliveries(tenant_id, endpoint_id, 4)

    await until(lambda: world.all_are(endpoint_id, "delivered", 4))

    assert receiver.ids() == [each for each in made for _ in range(2)]
    assert receiver.most_at_once == 1


async def test_a_given_up_head_lets_the_next_pass(world: World, receiver: Receiver, delivering: None) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url, ordered=True)
    first, second = await world.deliveries(tenant_id, endpoint_id, 2)

    async def refuse_first(received: Received) -> web.StreamResponse:
        return web.Response(status=400 if received.webhook_id == first else 200)

    receiver.answer = refuse_first
    await world.admin.execute("SELECT 1")

    async def over() -> bool:
        return await world.states(endpoint_id) == ["failed", "delivered"]

    await until(over)
    assert receiver.ids()[-1] == second


async def test_no_more_requests_at_once_than_an_endpoint_may_have(
    world: World, receiver: Receiver, delivering: None
) -> None:
    async def slowly(received: Received) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response()

    receiver.answer = slowly
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id, 150)

    await until(lambda: world.all_are(endpoint_id, "delivered", 150))

    assert receiver.most_at_once == 10
    assert len(set(receiver.ids())) == len(receiver.ids()) == 150


async def test_requests_keep_the_rate_of_the_endpoint(
    world: World, receiver: Receiver, delivering: None
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url, requests_per_second=20)
    await world.deliveries(tenant_id, endpoint_id, 5)
    await until(lambda: world.all_are(endpoint_id, "delivered", 5))
    await world.deliveries(tenant_id, endpoint_id, 5)
    await until(lambda: world.all_are(endpoint_id, "delivered", 10))

    first, last = await world.admin.fetchrow("SELECT min(started_at), max(started_at) FROM attempts") or ()
    # Nine pauses, also over the moment when there was nothing to send; a tenth is for clocks that differ.
    assert (last - first).total_seconds() >= 9 / 20 * 0.9


async def test_a_slow_endpoint_does_not_hinder_others(
    world: World, receiver: Receiver, delivering: None
) -> None:
    hang = asyncio.Event()

    async def never(received: Received) -> web.StreamResponse:
        await hang.wait()
        return web.Response()

    async with receiving() as slow:
        slow.answer = never
        tenant_id, slow_endpoint = await world.endpoint(slow.url)
        await world.deliveries(tenant_id, slow_endpoint, 50)

        async def hangs() -> bool:
            return slow.under_way > 0

        await until(hangs)
        _, endpoint_id = await world.endpoint(receiver.url, tenant_id=tenant_id)
        await world.deliveries(tenant_id, endpoint_id, 50)
        await until(lambda: world.all_are(endpoint_id, "delivered", 50))
        assert await world.states(slow_endpoint) == ["pending"] * 50
        hang.set()


async def test_new_deliveries_are_seen_while_others_are_under_way(
    world: World, receiver: Receiver, delivering: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = asyncio.Event()
    read: list[int] = []
    next_ones = due.next_ones

    async def counted(*arguments: Any) -> list[due.Due]:
        found = await next_ones(*arguments)
        read.append(len(found))
        return found

    monkeypatch.setattr(due, "next_ones", counted)

    async def hang_first(received: Received) -> web.StreamResponse:
        if len(receiver.received) == 1:
            await hang.wait()
        return web.Response()

    receiver.answer = hang_first
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id)

    async def under_way() -> bool:
        return receiver.under_way == 1 and read == [1, 0]  # it has looked for more in vain

    await until(under_way)
    await world.deliveries(tenant_id, endpoint_id)

    async def second_is_there() -> bool:
        return sorted(await world.states(endpoint_id)) == ["delivered", "pending"]

    await until(second_is_there)
    hang.set()
    await until(lambda: world.all_are(endpoint_id, "delivered", 2))
    assert len(receiver.received) == 2


async def test_a_message_that_is_gone_is_given_up(world: World, receiver: Receiver, delivering: None) -> None:
    tenant_id, endpoint_id = await world.endpoint("http://127.0.0.1:9/none", disabled="gone")
    await world.deliveries(tenant_id, endpoint_id, state="held")
    await world.admin.execute("DELETE FROM messages")
    await world.admin.execute(
        "UPDATE deliveries SET state = 'pending', forced = true, next_attempt_at = now()"
    )
    async with world.database.tenant_transaction(tenant_id) as connection:
        await connection.execute("UPDATE queues SET due_at = now()")

    await until(lambda: world.all_are(endpoint_id, "expired", 1))
    await until(lambda: world.is_given_back(endpoint_id))
    assert (await world.queue(endpoint_id))["due_at"] is None


async def test_a_secret_that_cannot_be_opened_leaves_the_endpoint_alone_for_a_while(
    world: World, receiver: Receiver, delivering: None, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.admin.execute("UPDATE endpoints SET headers = 'no json'")
    await world.deliveries(tenant_id, endpoint_id)

    async def aside() -> bool:
        queue = await world.queue(endpoint_id)
        return queue["lease_token"] is None and queue["circuit_until"] is not None

    await until(aside)
    assert (await world.queue(endpoint_id))["due_at"] > clock() + timedelta(seconds=30)
    assert await world.states(endpoint_id) == ["pending"]
    assert isinstance(endpoint_id, UUID)


async def test_an_endpoint_that_is_disabled_meanwhile_gets_no_more(
    world: World, receiver: Receiver, delivering: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_webhooks.delivering.run.FRESH_SECONDS", 0.05)
    disabled = asyncio.Event()

    async def wait_for_the_owner(received: Received) -> web.StreamResponse:
        await disabled.wait()
        await asyncio.sleep(0.1)  # what was read before is old by then
        return web.Response()

    receiver.answer = wait_for_the_owner
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id, 50)

    async def under_way() -> bool:
        return receiver.under_way == 2

    await until(under_way)
    await world.admin.execute("UPDATE endpoints SET enabled = false, disabled_reason = 'owner'")
    disabled.set()
    await until(lambda: world.is_given_back(endpoint_id))

    assert len(receiver.received) == 2


async def test_a_tenant_with_all_its_share_lets_its_endpoints_take_turns(
    world: World, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_webhooks.delivering.run.SLICE_ATTEMPTS", 5)
    monkeypatch.setattr("quarry_webhooks.delivering.run.READ", 5)

    async def slowly(received: Received) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response()

    async with receiving() as busy, receiving() as other:
        busy.answer = slowly
        tenant_id, first = await world.endpoint(busy.url)
        await world.deliveries(tenant_id, first, 200)
        _, second = await world.endpoint(other.url, tenant_id=tenant_id)
        await world.deliveries(tenant_id, second)
        async with working(Scheduler(world.database, tools, Rules(concurrency=2))):
            await until(lambda: world.all_are(second, "delivered", 1))
            assert "pending" in await world.states(first)
