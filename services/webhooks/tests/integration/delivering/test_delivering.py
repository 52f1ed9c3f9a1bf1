"""What is due reaches its receiver, and what came of it is written."""

from datetime import timedelta
from uuid import UUID

import msgspec
from aiohttp import web
from standardwebhooks import Webhook

from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.scheduler import Scheduler

from .conftest import FORMER_SECRET, SECRET, SOON, Clock, World, until, working
from .receivers import Received, Receiver, status


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
