"""Deliveries of a range are made again, under the same ids."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from nats.aio.client import Client

from quarry_common.contracts.events import CollectionDeleted, QuotaExceeded
from quarry_common.contracts.usage import Quota
from quarry_common.ids import new_id
from quarry_webhooks import replaying
from quarry_webhooks.delivering.ports import Clock as AnyClock
from quarry_webhooks.replaying import Replaying

from .conftest import Clock, World

URL = "https://acme.example/hooks"


async def ask(
    world: World, endpoint: tuple[UUID, UUID], kind: str, since: datetime, until: datetime, *event_types: str
) -> UUID:
    replay_id = new_id()
    await world.admin.execute(
        """
        INSERT INTO replays (id, tenant_id, endpoint_id, kind, state, since, until, event_types)
        VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7)
        """,
        replay_id, *endpoint, kind, since, until, list(event_types),
    )  # fmt: skip
    return replay_id


async def work(world: World, bus: Client, clock: AnyClock) -> tuple[str, int, int]:
    """Work on one job; return its state, and how much it examined and matched."""
    assert await Replaying(world.database, bus, clock).work(asyncio.Event())
    row = await world.admin.fetchrow("SELECT state, examined, matched FROM replays ORDER BY id DESC LIMIT 1")
    assert row is not None
    return row["state"], row["examined"], row["matched"]


async def test_what_failed_in_a_range_is_recovered(
    world: World, bus: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    endpoint = _, endpoint_id = await world.endpoint(URL)
    await world.deliveries(*endpoint, state="failed")
    clock.passes(hours=1)
    since = clock()
    for state in ("failed", "failed", "held", "expired", "delivered"):
        await world.deliveries(*endpoint, state=state)
    clock.passes(hours=1)
    await ask(world, endpoint, "recover", since, clock())
    await world.deliveries(*endpoint, state="failed")

    assert await work(world, bus, clock) == ("succeeded", 4, 4)

    assert await world.states(endpoint_id) == ["failed", *["pending"] * 4, "delivered", "failed"]
    assert await world.admin.fetchval("SELECT max(step) FROM deliveries WHERE state = 'pending'") == 0
    assert (await world.queue(endpoint_id))["due_at"] is not None
    assert not await Replaying(world.database, bus, clock).work(asyncio.Event())


async def test_events_of_a_range_are_delivered_again_from_the_stream(
    world: World, bus: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 3)
    endpoint = tenant_id, endpoint_id = await world.endpoint(URL, event_types=("collection.*",))
    _, foreign = await world.endpoint(URL)
    since = clock() - timedelta(seconds=1)
    ids = await world.publish(tenant_id, *[CollectionDeleted("manuals", n) for n in range(8)])
    await world.publish(tenant_id, QuotaExceeded(Quota.WEBHOOKS, 1, 1))
    await world.publish(foreign)
    await ask(world, endpoint, "replay", since, clock() + timedelta(minutes=1))
    consumers = (await bus.jetstream().stream_info("EVENTS")).state.consumer_count

    assert await work(world, bus, clock) == ("succeeded", 9, 8)

    assert await world.states(endpoint_id) == ["pending"] * 8
    rows = await world.admin.fetch("SELECT message_id FROM deliveries ORDER BY position")
    assert [str(row["message_id"]) for row in rows] == ids

    await world.admin.execute(
        "UPDATE deliveries SET state = 'delivered', next_attempt_at = NULL WHERE position % 2 = 0"
    )
    await ask(world, endpoint, "replay", since, clock() + timedelta(minutes=1), "collection.deleted")
    assert await work(world, bus, clock) == ("succeeded", 9, 4)
    assert await world.states(endpoint_id) == ["pending"] * 8
    assert (await bus.jetstream().stream_info("EVENTS")).state.consumer_count == consumers


async def test_an_interrupted_replay_goes_on_where_it_was(
    world: World, bus: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "BATCH", 2)
    endpoint = tenant_id, endpoint_id = await world.endpoint(URL)
    await world.publish(tenant_id, *[CollectionDeleted("manuals", n) for n in range(6)])
    await ask(world, endpoint, "replay", clock() - timedelta(minutes=1), clock() + timedelta(minutes=1))
    stopping = asyncio.Event()

    def stop_after_the_first_batch() -> datetime:
        stopping.set()
        return clock()

    await Replaying(world.database, bus, stop_after_the_first_batch).work(stopping)
    assert await world.admin.fetchval("SELECT state FROM replays") == "running"
    assert len(await world.states(endpoint_id)) == 2

    assert await work(world, bus, clock) == ("succeeded", 6, 6)
    assert len(await world.states(endpoint_id)) == 6


async def test_for_a_disabled_endpoint_they_are_held(world: World, bus: Client, clock: Clock) -> None:
    endpoint = tenant_id, endpoint_id = await world.endpoint(URL, disabled="gone")
    await world.publish(tenant_id)
    await ask(world, endpoint, "replay", clock() - timedelta(minutes=1), clock() + timedelta(minutes=1))

    assert await work(world, bus, clock) == ("succeeded", 1, 1)
    assert await world.states(endpoint_id) == ["held"]


async def test_a_range_without_events_is_done_at_once(world: World, bus: Client, clock: Clock) -> None:
    endpoint = await world.endpoint(URL)
    await ask(world, endpoint, "replay", clock() - timedelta(minutes=1), clock())

    assert await work(world, bus, clock) == ("succeeded", 0, 0)


async def test_a_job_that_never_comes_further_has_failed(world: World, bus: Client, clock: Clock) -> None:
    endpoint = await world.endpoint(URL)
    await ask(world, endpoint, "recover", clock(), clock())
    await world.admin.execute("UPDATE replays SET attempts = 10")

    assert await work(world, bus, clock) == ("failed", 0, 0)
    assert await world.admin.fetchval("SELECT error FROM replays") != ""
