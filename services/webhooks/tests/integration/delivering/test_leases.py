"""Who delivers to an endpoint: one process at a time, whatever becomes of it; tenants take turns."""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from quarry_common.contracts.webhooks import DeliveryState, Outcome
from quarry_webhooks.delivering.places import Places
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.recording import record
from quarry_webhooks.delivering.run import Run
from quarry_webhooks.delivering.scheduler import Scheduler
from quarry_webhooks.domain.circuit import Health
from quarry_webhooks.domain.results import Attempt, Verdict
from quarry_webhooks.repository import due, queues
from quarry_webhooks.repository.queues import Claim
from quarry_webhooks.repository.results import Result

from .conftest import SOON, Clock, World, until, working
from .receivers import Received, Receiver

URL = "https://acme.example/hooks"
NOBODY_WAITS = False


async def claim(world: World, clock: Clock, most: int = 100, **options: object) -> list[Claim]:
    async with world.database.worker_transaction() as worker:
        return await queues.claim(worker, clock(), 30.0, most, **options)  # type: ignore[arg-type]


async def lapse(world: World) -> None:
    await world.admin.execute("UPDATE queues SET leased_until = now() - interval '1 second'")


async def written(world: World, mine: Claim, clock: Clock, *, give_back: bool = False) -> bool:
    """Whether a result of the first pending delivery could be written under a claim."""
    async with world.database.tenant_transaction(mine.tenant_id) as connection:
        delivery_id = await connection.fetchval("SELECT id FROM deliveries ORDER BY position LIMIT 1")
        row = await connection.fetchrow("SELECT * FROM endpoints")
        assert row is not None
        endpoint = due.Endpoint(
            **{name: row[name] for name in due.Endpoint.__struct_fields__ if name != "disabled_reason"},
            disabled_reason=None,
        )
    attempt = Attempt(
        delivery_id=delivery_id, step=0, started_at=clock(), ended_at=clock(), duration_ms=1.0,
        outcome=Outcome.DELIVERED, status=200, detail="", url=URL, request_headers={}, response_headers={},
        response_excerpt="nul \0",
    )  # fmt: skip
    result = Result(attempt, Verdict(DeliveryState.DELIVERED))
    recorded = await record(
        world.database, mine, endpoint, [result], Health(), clock(), timedelta(days=5), give_back=give_back
    )  # fmt: skip
    return recorded is not None


async def test_an_endpoint_is_claimed_once(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    assert await claim(world, clock) == []

    await world.deliveries(tenant_id, endpoint_id)

    (mine,) = await claim(world, clock)
    assert (mine.endpoint_id, mine.tenant_id) == (endpoint_id, tenant_id)
    assert await claim(world, clock) == []


async def test_a_lease_that_lapsed_is_taken_over_and_the_former_holder_writes_nothing(
    world: World, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    await world.deliveries(tenant_id, endpoint_id, 2)
    (former,) = await claim(world, clock)
    await lapse(world)
    (present,) = await claim(world, clock)

    assert not await written(world, former, clock)
    assert await world.states(endpoint_id) == ["pending", "pending"]
    assert await world.admin.fetchval("SELECT count(*) FROM attempts") == 0

    assert await written(world, present, clock, give_back=True)
    assert await world.states(endpoint_id) == ["delivered", "pending"]
    assert not await written(world, present, clock)


async def test_only_who_holds_a_lease_renews_it(world: World, clock: Clock) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL)
    await world.deliveries(tenant_id, endpoint_id)
    (former,) = await claim(world, clock)
    await lapse(world)
    (present,) = await claim(world, clock)

    async with world.database.worker_transaction() as worker:
        assert await queues.renew(worker, [former], 30.0) == set()
        assert await queues.renew(worker, [present], 30.0) == {endpoint_id}


async def test_tenants_take_turns(world: World, clock: Clock) -> None:
    tenants: dict[UUID, str] = {}
    for name, endpoints in (("busy", 5), ("small", 1), ("other", 2)):
        tenant_id = uuid4()
        tenants[tenant_id] = name
        for _ in range(endpoints):
            _, endpoint_id = await world.endpoint(URL, tenant_id=tenant_id)
            await world.deliveries(tenant_id, endpoint_id)

    turns = [await claim(world, clock, 1) for _ in range(8)]

    served = [tenants[mine.tenant_id] for (mine,) in turns]
    assert sorted(served[:3]) == ["busy", "other", "small"]
    assert sorted(served[3:5]) == ["busy", "other"]
    assert served[5:] == ["busy"] * 3


async def test_many_at_once_are_shared_out_among_tenants(world: World, clock: Clock) -> None:
    for endpoints in (9, 2, 3):
        tenant_id = uuid4()
        for _ in range(endpoints):
            _, endpoint_id = await world.endpoint(URL, tenant_id=tenant_id)
            await world.deliveries(tenant_id, endpoint_id)

    claims = await claim(world, clock, 7)

    assert sorted(Counter(mine.tenant_id for mine in claims).values()) == [2, 2, 3]


async def test_a_tenant_has_no_more_than_its_share(world: World, clock: Clock) -> None:
    tenant_id = uuid4()
    for _ in range(6):
        _, endpoint_id = await world.endpoint(URL, tenant_id=tenant_id)
        await world.deliveries(tenant_id, endpoint_id)

    assert len(await claim(world, clock, 10, per_tenant=4)) == 4
    assert len(await claim(world, clock, 10, held={tenant_id: 3}, per_tenant=4)) == 1
    assert await claim(world, clock, 10, held={tenant_id: 4}, per_tenant=4) == []


async def test_two_processes_share_the_work_and_send_nothing_twice(
    world: World, receiver: Receiver, tools: Tools
) -> None:
    endpoints = []
    for _ in range(10):
        tenant_id, endpoint_id = await world.endpoint(receiver.url)
        endpoints.append(endpoint_id)
        await world.deliveries(tenant_id, endpoint_id, 10)

    rules = Rules(delays_seconds=SOON)
    async with working(*(Scheduler(world.database, tools, rules) for _ in range(2))):
        for endpoint_id in endpoints:
            await until(lambda endpoint_id=endpoint_id: world.all_are(endpoint_id, "delivered", 10))

    assert len(receiver.ids()) == len(set(receiver.ids())) == 100


async def test_what_a_killed_process_sent_is_sent_again_under_the_same_id(
    world: World, receiver: Receiver, tools: Tools, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    (webhook_id,) = await world.deliveries(tenant_id, endpoint_id)
    (mine,) = await claim(world, clock)
    loop = asyncio.get_running_loop()
    run = Run(world.database, mine, tools, Rules(), Places(1, 1), lambda: NOBODY_WAITS, loop.time() + 30)
    work = asyncio.create_task(run.work(asyncio.Event()))

    async def sent() -> bool:
        if not receiver.received:
            return False
        work.cancel()  # nothing of it is written any more
        return True

    receiver.answer = slow_answer
    await until(sent)
    await asyncio.gather(work, return_exceptions=True)
    assert await world.states(endpoint_id) == ["pending"]
    await lapse(world)

    async with working(Scheduler(world.database, tools, Rules())):
        await until(lambda: world.all_are(endpoint_id, "delivered", 1))

    assert receiver.ids() == [webhook_id] * 2
    assert await world.admin.fetchval("SELECT array_agg(number) FROM attempts") == [1]


async def slow_answer(received: Received) -> web.StreamResponse:
    await asyncio.sleep(0.1)
    return web.Response()


async def test_a_process_that_stood_still_sends_nothing_after_its_lease(
    world: World, receiver: Receiver, tools: Tools, clock: Clock
) -> None:
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id)
    (mine,) = await claim(world, clock)
    past = asyncio.get_running_loop().time() - 1

    await Run(world.database, mine, tools, Rules(), Places(1, 1), lambda: NOBODY_WAITS, past).work(
        asyncio.Event()
    )

    assert receiver.received == []


async def test_a_stopping_process_finishes_what_is_under_way_and_gives_back(
    world: World, receiver: Receiver, tools: Tools
) -> None:
    receiver.answer = slow_answer
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id, 30)

    async def under_way() -> bool:
        return receiver.under_way > 0

    async with working(Scheduler(world.database, tools, Rules())):
        await until(under_way)

    done = (await world.states(endpoint_id)).count("delivered")
    assert done == len(receiver.received) < 30
    queue = await world.queue(endpoint_id)
    assert queue["lease_token"] is None
    assert queue["due_at"] is not None


async def test_the_lease_of_a_long_request_is_renewed(world: World, receiver: Receiver, tools: Tools) -> None:
    async def slowly(received: Received) -> web.StreamResponse:
        await asyncio.sleep(1.5)
        return web.Response()

    receiver.answer = slowly
    tenant_id, endpoint_id = await world.endpoint(receiver.url)
    await world.deliveries(tenant_id, endpoint_id)

    rules = Rules(lease_seconds=0.6)
    async with working(*(Scheduler(world.database, tools, rules) for _ in range(2))):
        await until(lambda: world.all_are(endpoint_id, "delivered", 1))

    assert len(receiver.received) == 1


@pytest.mark.parametrize("ordered", [False, True])
async def test_an_endpoint_is_due_with_what_is_pending_next(
    world: World, clock: Clock, *, ordered: bool
) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL, ordered=ordered)
    await world.deliveries(tenant_id, endpoint_id, 3)
    await world.admin.execute(
        "UPDATE deliveries SET next_attempt_at = now() + make_interval(mins => (10 - position)::int)"
    )
    async with world.database.tenant_transaction(tenant_id) as connection:
        await queues.wake(connection, endpoint_id)

    first = "position" if ordered else "next_attempt_at"
    assert (await world.queue(endpoint_id))["due_at"] == await world.admin.fetchval(
        f"SELECT next_attempt_at FROM deliveries ORDER BY {first} LIMIT 1"
    )


async def test_a_disabled_endpoint_is_due_for_forced_deliveries_only(world: World) -> None:
    tenant_id, endpoint_id = await world.endpoint(URL, disabled="gone")
    await world.deliveries(tenant_id, endpoint_id)
    assert (await world.queue(endpoint_id))["due_at"] is None

    await world.deliveries(tenant_id, endpoint_id, forced=True)
    assert (await world.queue(endpoint_id))["due_at"] is not None
