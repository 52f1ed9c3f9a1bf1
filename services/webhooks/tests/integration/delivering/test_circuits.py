"""An endpoint that fails, or asks for patience, is left alone; in the end it is disabled."""

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web

from quarry_common.contracts.events import WebhookEndpointDisabled, WebhookEndpointFailing, decode_data
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.scheduler import Scheduler

from .conftest import Clock, World, until, working
from .receivers import Received, Receiver, status


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
