import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest
from libs.common.tests.integration.conftest import MortalNats, Until
from nats.aio.client import Client

from quarry_common.contracts.commands import PurgeDocuments
from quarry_common.contracts.events import ApiKeyRevoked, CloudEvent, decode_data
from quarry_common.contracts.streams import EVENTS
from quarry_common.errors import PayloadTooLargeError, ValidationError
from quarry_common.ids import new_id
from quarry_common.messaging import broker, outbox
from quarry_common.messaging.outbox import MAX_BODY_BYTES, Relay, publish_command, publish_event, told
from quarry_common.messaging.provision import provision
from quarry_common.postgres.pool import Connection, Database


@pytest.fixture
async def stream(mortal_nats: MortalNats) -> AsyncIterator[Client]:
    """A bus of the test's own, with the stream of events."""
    async with broker.connect(mortal_nats.settings, "test") as client:
        await provision(client.jetstream(), [EVENTS], [], replicas=1)
        yield client


async def write(database: Database, tenant_id: UUID, *events: ApiKeyRevoked) -> None:
    async with database.tenant_transaction(tenant_id) as connection:
        for event in events:
            await publish_event(connection, event, service="probe", tenant_id=tenant_id)


def events(count: int, key_id: UUID | None = None) -> list[ApiKeyRevoked]:
    return [ApiKeyRevoked(key_id=key_id or new_id(), name=str(number)) for number in range(count)]


async def published(client: Client) -> list[CloudEvent]:
    """Everything in the stream, in its order."""
    jetstream = client.jetstream(timeout=2)
    state = (await jetstream.stream_info("EVENTS")).state
    found = []
    for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
        message = await jetstream.get_msg("EVENTS", sequence)
        assert message.data is not None
        found.append(msgspec.json.decode(message.data, type=CloudEvent))
    return found


async def waiting(database: Database) -> int:
    async with database.worker_transaction() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))


@asynccontextmanager
async def relaying(database: Database, client: Client) -> AsyncIterator[Relay]:
    relay, stopping = Relay(database, client), asyncio.Event()
    running = asyncio.create_task(relay.run(stopping))
    try:
        yield relay
    finally:
        stopping.set()
        async with asyncio.timeout(20):
            await running


async def test_the_change_and_its_message_are_there_together(database: Database) -> None:
    tenant_id = new_id()

    async with database.tenant_transaction(tenant_id) as connection:
        await connection.execute("INSERT INTO notes VALUES (1, $1, 'kept')", tenant_id)
        await publish_event(connection, events(1)[0], service="probe", tenant_id=tenant_id)

    assert await waiting(database) == 1


async def test_a_change_that_is_rolled_back_leaves_no_message(database: Database) -> None:
    tenant_id = new_id()

    async def fail(connection: Connection) -> None:
        await connection.execute("INSERT INTO notes VALUES (1, $1, 'lost')", tenant_id)
        await publish_event(connection, events(1)[0], service="probe", tenant_id=tenant_id)
        raise ZeroDivisionError

    async def attempt() -> None:
        async with database.tenant_transaction(tenant_id) as connection:
            await fail(connection)

    with pytest.raises(ZeroDivisionError):
        await attempt()

    assert await waiting(database) == 0
    async with database.tenant_transaction(tenant_id) as connection:
        assert await connection.fetch("SELECT * FROM notes") == []


async def test_a_message_cannot_be_written_for_another_tenant(database: Database) -> None:
    async def attempt() -> None:
        async with database.tenant_transaction(new_id()) as connection:
            await publish_event(connection, events(1)[0], service="probe", tenant_id=new_id())

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await attempt()


async def test_a_message_that_no_stream_would_take_is_refused_with_its_change(database: Database) -> None:
    with pytest.raises(PayloadTooLargeError):
        await write(database, new_id(), ApiKeyRevoked(key_id=new_id(), name="x" * EVENTS.max_message_bytes))

    assert await waiting(database) == 0


async def test_the_largest_message_is_published(database: Database, stream: Client) -> None:
    await write(database, new_id(), ApiKeyRevoked(key_id=new_id(), name="x" * (MAX_BODY_BYTES - 1_000)))

    await Relay(database, stream).publish_batch()

    assert await waiting(database) == 0


async def test_messages_of_one_thing_keep_their_order(
    database: Database, stream: Client, until: Until
) -> None:
    tenant_id, one, other = new_id(), new_id(), new_id()
    mixed = [event for pair in zip(events(150, one), events(150, other), strict=True) for event in pair]

    await write(database, tenant_id, *mixed)
    async with relaying(database, stream):
        await until(lambda: _empty(database))

    found = [decode_data(event) for event in await published(stream)]
    assert [data for data in found if data.subject_id == str(one)] == events(150, one)
    assert [data for data in found if data.subject_id == str(other)] == events(150, other)
    assert len(found) == 300


async def test_a_committed_message_is_published_without_waiting_for_the_poll(
    database: Database, stream: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_common.messaging.outbox.POLL_SECONDS", 60.0)
    async with relaying(database, stream):
        await write(database, new_id(), *events(1))
        await until(lambda: _empty(database))
        await write(database, new_id(), *events(1))
        await until(lambda: _empty(database))

    assert len(await published(stream)) == 2


async def test_killed_between_publishing_and_marking_it_publishes_no_second_time(
    database: Database, stream: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database, new_id(), *events(20))
    relay = Relay(database, stream)

    async def die(_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(relay, "_mark", die)
        with pytest.raises(ConnectionResetError):
            await relay.publish_batch()
    assert await waiting(database) == 20
    await Relay(database, stream).publish_batch()

    assert await waiting(database) == 0
    assert len(await published(stream)) == 20


async def test_who_waits_for_a_message_to_be_told_goes_on_when_it_is(
    database: Database, stream: Client
) -> None:
    tenant_id = new_id()
    (event,) = events(1)
    await write(database, tenant_id, event)
    waiting = asyncio.create_task(told(database, tenant_id, event.subject_id))
    _, unfinished = await asyncio.wait([waiting], timeout=0.1)
    assert unfinished

    async with relaying(database, stream):
        await waiting

    assert len(await published(stream)) == 1


async def test_nobody_waits_for_ever_for_a_message_to_be_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TOLD_SECONDS", 0.1)
    tenant_id = new_id()
    (event,) = events(1)
    await write(database, tenant_id, event)

    async with asyncio.timeout(5):
        await told(database, tenant_id, event.subject_id)


async def test_one_relay_of_a_service_works_at_a_time(
    database: Database, stream: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    working: set[int] = set()
    batch = Relay.publish_batch

    async def watched(relay: Relay) -> int:
        working.add(id(relay))
        return await batch(relay)

    monkeypatch.setattr(Relay, "publish_batch", watched)
    async with relaying(database, stream), relaying(database, stream):
        await write(database, new_id(), *events(50))
        await until(lambda: _empty(database))

    assert len(working) == 1
    assert len(await published(stream)) == 50


async def test_another_relay_takes_over_from_one_that_stands_still(
    database: Database, stream: Client, until: Until
) -> None:
    # Its process still has its connections, as a frozen one does; only the lease runs out.
    async with database.worker_transaction() as connection:
        await connection.execute(
            "INSERT INTO leaders VALUES ('outbox', $1, now() + interval '1 second')", new_id()
        )
    await write(database, new_id(), *events(10))

    async with relaying(database, stream):
        await until(lambda: _empty(database))

    assert len(await published(stream)) == 10


async def test_what_was_written_while_the_bus_was_killed_is_published_once(
    database: Database, stream: Client, mortal_nats: MortalNats, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarry_common.messaging.outbox.PUBLISH_SECONDS", 1.0)
    tenant_id = new_id()
    async with relaying(database, stream):
        await write(database, tenant_id, *events(100))
        mortal_nats.kill()
        await write(database, tenant_id, *events(100))
        mortal_nats.start()
        await write(database, tenant_id, *events(100))
        await until(lambda: _empty(database))

    found = await published(stream)
    assert len({event.id for event in found}) == len(found) == 300


async def test_a_range_can_be_published_again(database: Database, stream: Client, until: Until) -> None:
    await write(database, new_id(), *events(5))
    async with relaying(database, stream) as relay:
        await until(lambda: _empty(database))
        now = datetime.now(UTC)

        assert await relay.republish(now - timedelta(days=2), now - timedelta(days=1)) == 0
        for _ in range(2):  # as often as somebody asks
            assert await relay.republish(now - timedelta(hours=1), now + timedelta(hours=1)) == 5
            await until(lambda: _empty(database))

    found = await published(stream)
    assert len(found) == 15
    assert len({event.id for event in found}) == 5


async def test_a_range_can_be_published_again_for_one_tenant(
    database: Database, stream: Client, until: Until
) -> None:
    one, other = new_id(), new_id()
    await write(database, one, *events(3))
    await write(database, other, *events(4))
    async with relaying(database, stream) as relay:
        await until(lambda: _empty(database))
        now = datetime.now(UTC)

        assert await relay.republish(now - timedelta(hours=1), now, other) == 4
        await until(lambda: _empty(database))

    tenants = [event.tenantid for event in await published(stream)]
    assert (tenants.count(str(one)), tenants.count(str(other))) == (3, 8)


async def test_commands_are_not_published_again(database: Database, stream: Client, until: Until) -> None:
    tenant_id = new_id()
    async with database.tenant_transaction(tenant_id) as connection:
        await publish_command(connection, PurgeDocuments(), tenant_id=tenant_id)
    await write(database, tenant_id, *events(1))
    await stream.jetstream().add_stream(name="COMMANDS", subjects=["cmd.v1.>"])
    async with relaying(database, stream) as relay:
        await until(lambda: _empty(database))
        now = datetime.now(UTC)

        assert await relay.republish(now - timedelta(hours=1), now) == 1


async def test_a_range_with_too_many_events_is_not_published_again(
    database: Database, stream: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_EVENTS", 4)
    await write(database, new_id(), *events(5))
    async with relaying(database, stream) as relay:
        await until(lambda: _empty(database))
        now = datetime.now(UTC)

        with pytest.raises(ValidationError):
            await relay.republish(now - timedelta(hours=1), now)

    assert len(await published(stream)) == 5


async def test_what_was_published_long_ago_is_removed(
    database: Database, stream: Client, until: Until, probe_admin_dsn: str
) -> None:
    await write(database, new_id(), *events(2))
    async with relaying(database, stream):
        await until(lambda: _empty(database))
    admin = await asyncpg.connect(probe_admin_dsn)
    try:
        await admin.execute(
            """
            UPDATE probe.outbox SET published_at = now() - interval '73 hours'
            WHERE id = (SELECT min(id) FROM probe.outbox)
            """
        )

        async def one_left() -> bool:
            return bool(await admin.fetchval("SELECT count(*) = 1 FROM probe.outbox"))

        async with relaying(database, stream):
            await until(one_left)
    finally:
        await admin.close()


async def _empty(database: Database) -> bool:
    return await waiting(database) == 0
