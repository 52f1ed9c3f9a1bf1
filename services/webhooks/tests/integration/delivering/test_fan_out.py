"""Events become deliveries: one for each endpoint that wants them, once."""

import asyncio
from uuid import uuid4

import msgspec
from nats.aio.client import Client

from quarry_common.contracts.events import CollectionDeleted, TenantPurged, envelope
from quarry_common.messaging.consumer import Delivery
from quarry_webhooks.fan_out import FanOut, consumer
from quarry_webhooks.repository import queues

from .conftest import Clock, World, until, working

URL = "https://acme.example/hooks"


async def taken(bus: Client) -> bool:
    info = await bus.jetstream().consumer_info("EVENTS", "webhooks-events")
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_each_endpoint_gets_what_it_wants(world: World, bus: Client, clock: Clock) -> None:
    tenant_id, everything = await world.endpoint(URL)
    _, collections = await world.endpoint(URL, tenant_id=tenant_id, event_types=("collection.*",))
    _, jobs = await world.endpoint(URL, tenant_id=tenant_id, event_types=("job.*", "document.indexed"))
    _, foreign = await world.endpoint(URL)

    async with working(consumer(world.database, bus, clock)):
        (event_id,) = await world.publish(tenant_id, CollectionDeleted("manuals", 3))
        await until(lambda: taken(bus))

    assert await world.states(everything) == await world.states(collections) == ["pending"]
    assert await world.states(jobs) == await world.states(foreign) == []
    message = await world.admin.fetchrow("SELECT * FROM messages")
    assert message is not None
    assert str(message["id"]) == event_id
    assert msgspec.json.decode(message["payload"])["data"] == {"collection": "manuals", "documents": 3}
    assert (await world.queue(everything))["due_at"] is not None
    assert (await world.queue(jobs))["due_at"] is None


async def test_whoever_is_disabled_gets_it_held_unless_by_its_owner(
    world: World, bus: Client, clock: Clock
) -> None:
    tenant_id, gone = await world.endpoint(URL, disabled="gone")
    _, switched_off = await world.endpoint(URL, tenant_id=tenant_id, disabled="owner")

    async with working(consumer(world.database, bus, clock)):
        await world.publish(tenant_id)
        await until(lambda: taken(bus))

    assert await world.states(gone) == ["held"]
    assert await world.states(switched_off) == []
    assert (await world.queue(gone))["due_at"] is None


async def test_an_event_that_comes_again_adds_nothing(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    event = envelope(CollectionDeleted("manuals", 1), source="indexer", tenant_id=tenant_id)
    delivery = Delivery("evt", msgspec.json.encode(event), 1, 7)

    for _ in range(2):
        await FanOut(world.database, clock).handle([delivery, delivery])

    assert await world.states(endpoint_id) == ["pending"]
    assert await world.admin.fetchval("SELECT position FROM deliveries") == 7


async def test_what_is_no_event_is_a_dead_letter_and_the_others_pass(
    world: World, bus: Client, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    await world.publish(tenant_id)
    await world.publish_raw(f"evt.v1.{tenant_id}.thing.broken", b"{}")
    await world.publish(tenant_id)

    async with working(consumer(world.database, bus, clock)):
        await until(lambda: taken(bus))

    assert await world.states(endpoint_id) == ["pending"] * 2
    assert (await bus.jetstream().stream_info("DEAD_LETTERS")).state.messages == 1


async def test_tenants_without_endpoints_and_the_platform_cost_nothing(
    world: World, bus: Client, clock: Clock
) -> None:
    async with working(consumer(world.database, bus, clock)):
        tenant_id = uuid4()
        await world.publish(tenant_id)
        event = envelope(TenantPurged(tenant_id, "acme"), source="tenants", tenant_id=None)
        await world.publish_raw("evt.v1.platform.tenant.purged", msgspec.json.encode(event))
        await until(lambda: taken(bus))

    assert await world.admin.fetchval("SELECT count(*) FROM messages") == 0


async def test_an_endpoint_that_is_enabled_meanwhile_keeps_nothing_held(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL, disabled="failing")
    event = envelope(CollectionDeleted("manuals", 1), source="indexer", tenant_id=tenant_id)

    async with world.database.tenant_transaction(tenant_id) as connection:
        await connection.execute("UPDATE endpoints SET enabled = true, disabled_reason = NULL")
        fanning_out = asyncio.create_task(
            FanOut(world.database, clock).handle([Delivery("evt", msgspec.json.encode(event), 1, 1)])
        )
        await until(lambda: waits_for_a_lock(world))
        await connection.execute(
            "UPDATE deliveries SET state = 'pending', next_attempt_at = now() WHERE state = 'held'"
        )
        await queues.wake(connection, endpoint_id)
    await fanning_out

    assert await world.states(endpoint_id) == ["pending"]


async def waits_for_a_lock(world: World) -> bool:
    return bool(
        await world.admin.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
        )
    )


async def test_when_an_endpoint_is_due_follows_its_circuit(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    opened = await world.admin.fetchval(
        "UPDATE queues SET failures = 5, circuit_until = now() + interval '5 minutes' RETURNING circuit_until"
    )
    event = envelope(CollectionDeleted("manuals", 1), source="indexer", tenant_id=tenant_id)

    await FanOut(world.database, clock).handle([Delivery("evt", msgspec.json.encode(event), 1, 1)])

    assert (await world.queue(endpoint_id))["due_at"] == opened
