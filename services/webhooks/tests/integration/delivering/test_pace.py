"""How many requests an endpoint gets, in which order, and that none holds up another."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.scheduler import Scheduler
from quarry_webhooks.repository import due

from .conftest import World, until, working
from .receivers import Received, Receiver, receiving


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
