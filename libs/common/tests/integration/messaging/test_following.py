import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from libs.common.tests.integration.conftest import MortalNats
from nats.aio.client import Client

from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging import broker, following
from quarry_common.messaging.following import BATCH, Follower, Stored, bounds_of

Stream = tuple[str, str]
"""Its name, and what its subjects begin with."""


@pytest.fixture
async def stream(bus: Client) -> AsyncIterator[Stream]:
    name, prefix = f"S{new_id().hex}", f"s{new_id().hex}"
    await bus.jetstream().add_stream(name=name, subjects=[f"{prefix}.>"])
    yield name, prefix
    await bus.jetstream().delete_stream(name)


async def put(client: Client, prefix: str, *texts: str, kind: str = "a") -> None:
    for text in texts:
        await client.jetstream().publish(f"{prefix}.{kind}", text.encode())


async def read(follower: Follower, count: int) -> list[Stored]:
    found = []
    async with asyncio.timeout(20), aclosing(follower.messages()) as messages:
        async for message in messages:
            found.append(message)
            if len(found) == count:
                break
    return found


def texts(found: list[Stored]) -> list[str]:
    return [message.data.decode() for message in found]


async def test_what_is_there_comes_first_and_then_what_is_new(bus: Client, stream: Stream) -> None:
    name, prefix = stream
    there = [str(number) for number in range(3 * BATCH)]
    await put(bus, prefix, *there)
    follower = Follower(bus, name, f"{prefix}.>", after=0)

    reading = asyncio.create_task(read(follower, len(there) + 2))
    await asyncio.sleep(0.3)
    await put(bus, prefix, "x", "y")

    found = await reading
    assert texts(found) == [*there, "x", "y"]
    assert [message.sequence for message in found] == list(range(1, len(found) + 1))


async def test_it_begins_after_a_sequence_and_only_with_what_matches(bus: Client, stream: Stream) -> None:
    name, prefix = stream
    await put(bus, prefix, "1", "2")
    await put(bus, prefix, "3", kind="b")
    await put(bus, prefix, "4", "5")

    found = await read(Follower(bus, name, f"{prefix}.a", after=1), 3)

    assert [(message.sequence, message.data) for message in found] == [(2, b"2"), (4, b"4"), (5, b"5")]
    assert {message.subject for message in found} == {f"{prefix}.a"}


async def test_it_begins_with_what_was_stored_since(bus: Client, stream: Stream) -> None:
    name, prefix = stream
    await put(bus, prefix, "before")
    await asyncio.sleep(0.05)
    since = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await put(bus, prefix, "after")

    assert texts(await read(Follower(bus, name, f"{prefix}.>", after=None, since=since), 1)) == ["after"]
    long_ago = since - timedelta(days=400)
    both = await read(Follower(bus, name, f"{prefix}.>", after=None, since=long_ago), 2)
    assert texts(both) == ["before", "after"]


async def test_it_waits_longer_than_one_request_for_messages(
    bus: Client, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PULL_SECONDS", 0.4)
    monkeypatch.setattr(following, "HEARTBEAT_SECONDS", 0.1)
    name, prefix = stream
    reading = asyncio.create_task(read(Follower(bus, name, f"{prefix}.>", after=0), 1))

    await asyncio.sleep(1.5)
    await put(bus, prefix, "late")

    assert texts(await reading) == ["late"]


async def test_nothing_of_it_stays_on_the_server(bus: Client, stream: Stream) -> None:
    name, prefix = stream
    await put(bus, prefix, "1")

    await read(Follower(bus, name, f"{prefix}.>", after=0), 1)

    async with asyncio.timeout(5):
        while await bus.jetstream().consumers_info(name):
            await asyncio.sleep(0.02)


async def test_a_consumer_that_somebody_removes_is_replaced(bus: Client, stream: Stream) -> None:
    name, prefix = stream
    await put(bus, prefix, "1")
    found = []
    async with (
        asyncio.timeout(30),
        aclosing(Follower(bus, name, f"{prefix}.>", after=0).messages()) as messages,
    ):
        async for message in messages:
            found.append(message)
            if len(found) == 3:
                break
            (consumer,) = await bus.jetstream().consumers_info(name)
            await bus.jetstream().delete_consumer(name, consumer.name)
            await put(bus, prefix, str(len(found) + 1))

    assert texts(found) == ["1", "2", "3"]


async def test_a_message_that_is_lost_on_the_way_is_read_again(
    bus: Client, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, prefix = stream
    await put(bus, prefix, *"123456")
    pull = Follower._pull
    lost = 0

    async def lossy(self: Follower, *args: object) -> AsyncIterator[object]:
        nonlocal lost
        async for message in pull(self, *args):  # type: ignore[arg-type]
            if message.data == b"3" and not lost:
                lost += 1
                continue
            yield message

    monkeypatch.setattr(Follower, "_pull", lossy)

    assert texts(await read(Follower(bus, name, f"{prefix}.>", after=0), 6)) == list("123456")
    assert lost == 1


async def test_a_server_that_is_killed_costs_no_message(mortal_nats: MortalNats) -> None:
    async with broker.connect(mortal_nats.settings, "test") as client:
        await client.jetstream().add_stream(name="KILLED", subjects=["killed.>"])
        await put(client, "killed", "1", "2")
        reading = asyncio.create_task(read(Follower(client, "KILLED", "killed.>", after=0), 4))
        await asyncio.sleep(0.3)
        mortal_nats.kill()
        await asyncio.sleep(0.5)
        mortal_nats.start()
        async with asyncio.timeout(10):
            while not client.is_connected:
                await asyncio.sleep(0.05)
        await put(client, "killed", "3", "4")

        assert texts(await reading) == ["1", "2", "3", "4"]


async def test_a_bus_that_stays_away_is_told_in_the_end(
    mortal_nats: MortalNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("PATIENCE_SECONDS", 1.0), ("API_SECONDS", 0.3), ("SILENCE_SECONDS", 0.3)):
        monkeypatch.setattr(following, name, seconds)
    async with broker.connect(mortal_nats.settings, "test") as client:
        await client.jetstream().add_stream(name="AWAY", subjects=["away.>"])
        mortal_nats.kill()

        with pytest.raises(UnavailableError):
            await read(Follower(client, "AWAY", "away.>", after=0), 1)
        with pytest.raises(UnavailableError):
            await bounds_of(client, "AWAY")


async def test_bounds_tell_where_a_stream_is_and_which_it_is(bus: Client, stream: Stream) -> None:
    name, prefix = stream
    empty = await bounds_of(bus, name)
    await put(bus, prefix, "1", "2", "3")
    await bus.jetstream().delete_msg(name, 1)
    full = await bounds_of(bus, name)
    await bus.jetstream().delete_stream(name)
    await bus.jetstream().add_stream(name=name, subjects=[f"{prefix}.>"])
    anew = await bounds_of(bus, name)

    assert (empty.first, empty.last) == (1, 0)
    assert (full.first, full.last) == (2, 3)
    assert empty.identity == full.identity != anew.identity
