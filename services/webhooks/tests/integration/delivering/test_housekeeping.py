"""What has served its time is forgotten; what is pending or held is not."""

import asyncio

import pytest

from quarry_webhooks.delivering.measuring import Measuring
from quarry_webhooks.delivering.metrics import DUE, OLDEST_DUE_SECONDS, OPEN_CIRCUITS
from quarry_webhooks.delivering.ports import Rules
from quarry_webhooks.housekeeping import Housekeeping
from quarry_webhooks.repository import expiry

from .conftest import Clock, World

URL = "https://acme.example/hooks"


async def keep_house(world: World, clock: Clock) -> None:
    await world.admin.execute("DELETE FROM leaders")  # it did not say that it is done
    await Housekeeping(world.database, Rules(), clock).keep_house(asyncio.Event())


async def test_what_was_held_for_two_weeks_expires(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL, disabled="gone")
    await world.deliveries(tenant_id, endpoint_id, 2, state="held")
    clock.passes(days=13)
    await keep_house(world, clock)
    assert await world.states(endpoint_id) == ["held", "held"]

    clock.passes(days=2)
    await keep_house(world, clock)
    assert await world.states(endpoint_id) == ["expired", "expired"]


async def test_what_is_over_is_forgotten_after_thirty_days(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "AT_A_TIME", 2)
    tenant_id, endpoint_id = await world.endpoint(URL)
    for state in ("pending", "delivered", "failed", "expired"):
        await world.deliveries(tenant_id, endpoint_id, 3, state=state)
    await world.admin.execute(
        """
        INSERT INTO attempts SELECT id, 1, tenant_id, now(), 1, 'delivered', 200, '', '', '{}', '{}', ''
        FROM deliveries
        """
    )
    await world.admin.execute("INSERT INTO hours VALUES ($1, now(), $2, 1, 1)", endpoint_id, tenant_id)
    await world.admin.execute(
        "INSERT INTO latencies SELECT $1, now(), n, $2, 1 FROM generate_series(1, 5) n",
        endpoint_id,
        tenant_id,
    )
    clock.passes(days=29)
    await keep_house(world, clock)
    assert len(await world.states(endpoint_id)) == 12

    clock.passes(days=2)
    await world.admin.execute("UPDATE messages SET created_at = now() - interval '1 hour'")
    await keep_house(world, clock)
    assert await world.states(endpoint_id) == ["pending"] * 3
    assert await world.admin.fetchval("SELECT count(*) FROM attempts") == 3
    assert await world.admin.fetchval("SELECT count(*) FROM hours") == 1

    clock.passes(days=60)
    await keep_house(world, clock)
    assert await world.admin.fetchval("SELECT count(*) FROM hours") == 0
    assert await world.admin.fetchval("SELECT count(*) FROM latencies") == 0


async def test_messages_are_kept_as_long_as_a_delivery_names_them(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    (kept,) = await world.deliveries(tenant_id, endpoint_id)
    await world.deliveries(tenant_id, endpoint_id, 2, state="delivered")

    clock.passes(days=31)
    await keep_house(world, clock)

    assert await world.admin.fetchval("SELECT array_agg(id::text) FROM messages") == [kept]


async def test_what_is_left_pending_of_a_disabled_endpoint_is_held(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL, disabled="failing")
    await world.deliveries(tenant_id, endpoint_id, 2)
    await world.deliveries(tenant_id, endpoint_id, forced=True)

    await keep_house(world, clock)

    assert await world.states(endpoint_id) == ["held", "held", "pending"]


async def test_what_waits_is_told_in_metrics(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    await world.deliveries(tenant_id, endpoint_id)
    _, failing = await world.endpoint(URL, tenant_id=tenant_id)
    await world.admin.execute(
        "UPDATE queues SET circuit_until = now() + interval '1 hour', due_at = now() + interval '1 hour' "
        "WHERE endpoint_id = $1",
        failing,
    )
    clock.passes(seconds=30)

    await Measuring(world.database, clock).measure()

    assert DUE._value.get() == 1
    assert 30 <= OLDEST_DUE_SECONDS._value.get() < 60
    assert OPEN_CIRCUITS._value.get() == 1
