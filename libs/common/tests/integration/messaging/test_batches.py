import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from libs.common.tests.integration.conftest import MortalNats, Until
from nats.aio.client import Client

from quarry_common.contracts.streams import DEAD_LETTERS, EVENTS, Consumer
from quarry_common.errors import UnavailableError
from quarry_common.messaging import broker
from quarry_common.messaging.batches import BatchConsumer
from quarry_common.messaging.consumer import DeadLetter, Delivery
from quarry_common.messaging.provision import provision
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Database

PROBE = Consumer("EVENTS", "probe-events", "probe", "evt.v1.>", ack_wait_seconds=2, max_deliver=3)
SUBJECT = "evt.v1.0190a6b2-0000-7000-8000-000000000000.thing.changed"

Handler = Callable[[list[Delivery]], Awaitable[None]]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed batches are tried again soon, and an idle wait ends soon."""
    monkeypatch.setattr("quarry_common.messaging.consumer.FIRST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr("quarry_common.messaging.batches.FETCH_SECONDS", 0.5)
    monkeypatch.setattr("quarry_common.messaging.batches.RETRY_SECONDS", 0.1)


@pytest.fixture
async def stream(mortal_nats: MortalNats) -> AsyncIterator[Client]:
    async with broker.connect(mortal_nats.settings, "test") as client:
        await provision(client.jetstream(), [EVENTS, DEAD_LETTERS], [PROBE], replicas=1)
        yield client


@asynccontextmanager
async def consuming(
    server: MortalNats, handler: Handler, *, batch: int = 10, leadership: Leadership | None = None
) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with broker.connect(server.settings, "probe") as bus:
        consumer = BatchConsumer(bus, PROBE, handler, batch=batch, leadership=leadership)
        running = asyncio.create_task(consumer.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            async with asyncio.timeout(20):
                await running


async def send(client: Client, *bodies: str) -> None:
    for body in bodies:
        await client.jetstream().publish(SUBJECT, body.encode())


async def settled(client: Client) -> bool:
    info = await client.jetstream(timeout=2).consumer_info("EVENTS", "probe-events")
    return info.num_pending == 0 and info.num_ack_pending == 0


async def dead_letters(client: Client) -> list[DeadLetter]:
    jetstream = client.jetstream(timeout=2)
    state = (await jetstream.stream_info("DEAD_LETTERS")).state
    found = []
    for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
        message = await jetstream.get_msg("DEAD_LETTERS", sequence)
        assert message.data is not None
        found.append(msgspec.json.decode(message.data, type=DeadLetter))
    return found


class Seen:
    """A handler that remembers its batches, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.batches: list[list[str]] = []
        self.deliveries: list[Delivery] = []
        self.failures = list(failures)

    async def __call__(self, deliveries: list[Delivery]) -> None:
        self.batches.append([delivery.body.decode() for delivery in deliveries])
        self.deliveries += deliveries
        if self.failures:
            raise self.failures.pop(0)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


async def test_what_waits_comes_in_batches_in_its_order(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    await send(stream, *numbers(0, 25))
    seen = Seen()
    async with consuming(mortal_nats, seen):
        await until(lambda: settled(stream))

    assert seen.batches == [numbers(0, 10), numbers(10, 20), numbers(20, 25)]
    assert [delivery.sequence for delivery in seen.deliveries] == list(range(1, 26))


async def test_a_single_message_need_not_wait_for_others(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen = Seen()
    async with consuming(mortal_nats, seen):
        for number in range(3):
            await send(stream, str(number))
            await until(lambda: settled(stream))

    assert seen.batches == [["0"], ["1"], ["2"]]


async def test_a_batch_that_failed_is_tried_again_before_later_ones(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    await send(stream, *numbers(0, 12))
    away = UnavailableError("The database is away.")
    seen = Seen(
        away, away, away, away, away
    )  # more often than a message may fail: an outage lasts as it lasts
    async with consuming(mortal_nats, seen):
        await until(lambda: settled(stream))

    assert seen.batches == [numbers(0, 10)] * 6 + [numbers(10, 12)]
    assert await dead_letters(stream) == []


async def test_nothing_comes_twice_while_a_batch_takes_long(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen: list[int] = []

    async def slowly(deliveries: list[Delivery]) -> None:
        seen.append(len(deliveries))
        await asyncio.sleep(2 * PROBE.ack_wait_seconds)  # the server would send it again by then

    await send(stream, *numbers(0, 10))
    async with consuming(mortal_nats, slowly), consuming(mortal_nats, slowly):
        await until(lambda: settled(stream))

    assert seen == [10]


async def test_a_wrong_message_is_a_dead_letter_and_the_others_are_done(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    done: list[object] = []

    async def handle(deliveries: list[Delivery]) -> None:
        done.extend([msgspec.json.decode(delivery.body) for delivery in deliveries])

    await send(stream, "1", "{", "3")
    async with consuming(mortal_nats, handle):
        await until(lambda: settled(stream))

    assert done == [1, 3]
    (letter,) = await dead_letters(stream)
    assert (letter.subject, letter.body, letter.consumer) == (SUBJECT, b"{", "probe-events")
    assert letter.error.code == "message_rejected"


async def test_an_error_that_nobody_foresaw_ends_in_a_dead_letter_of_one(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    done: list[str] = []

    async def handle(deliveries: list[Delivery]) -> None:
        bodies = [delivery.body.decode() for delivery in deliveries]
        if "poison" in bodies:
            raise RuntimeError("unforeseen")
        done.extend(bodies)

    await send(stream, "a", "poison", "b")
    async with consuming(mortal_nats, handle):
        await until(lambda: settled(stream))

    assert done == ["a", "b"]
    (letter,) = await dead_letters(stream)
    assert (letter.body, letter.attempts, letter.error.code) == (b"poison", 3, "internal_error")


async def test_who_stops_leaves_what_failed_to_the_next(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    await send(stream, "kept")
    away = Seen(*[UnavailableError("away")] * 1_000)
    async with consuming(mortal_nats, away):

        async def tried() -> bool:
            return len(away.batches) > 1

        await until(tried)

    assert not await settled(stream)
    seen = Seen()
    async with consuming(mortal_nats, seen):
        await until(lambda: settled(stream))
    assert seen.batches == [["kept"]]


async def test_a_server_that_is_killed_loses_nothing(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen = Seen()
    async with consuming(mortal_nats, seen):
        await send(stream, *numbers(0, 5))
        await until(lambda: settled(stream))
        mortal_nats.kill()
        mortal_nats.start()

        async def published() -> bool:
            try:
                await send(stream, "after")
            except Exception:  # noqa: BLE001 - until the client is connected again
                return False
            return True

        await until(published)
        await until(lambda: settled(stream))

    assert seen.batches[-1][-1] == "after"


async def test_a_missing_consumer_is_told_at_the_start(mortal_nats: MortalNats, stream: Client) -> None:
    await stream.jetstream().delete_consumer("EVENTS", "probe-events")

    with pytest.raises(UnavailableError, match="probe-events"):
        async with broker.connect(mortal_nats.settings, "probe") as bus:
            await BatchConsumer(bus, PROBE, Seen()).run(asyncio.Event())


async def test_one_process_at_a_time_consumes(
    mortal_nats: MortalNats, stream: Client, until: Until, database: Database
) -> None:
    first, second = Seen(), Seen()
    async with consuming(mortal_nats, first, leadership=Leadership(database, "probe", seconds=5)):
        await send(stream, "0")
        await until(lambda: settled(stream))
        async with consuming(mortal_nats, second, leadership=Leadership(database, "probe", seconds=5)):
            await send(stream, *numbers(1, 9))
            await until(lambda: settled(stream))

    assert second.batches == []
    assert [body for batch in first.batches for body in batch] == numbers(0, 9)


async def test_who_takes_over_lets_nothing_overtake_what_another_had(
    mortal_nats: MortalNats, stream: Client, until: Until, database: Database
) -> None:
    await send(stream, *numbers(0, 3))
    pulled = await stream.jetstream().pull_subscribe_bind("probe-events", "EVENTS")
    assert len(await pulled.fetch(3, timeout=2)) == 3  # by a process that was killed then
    await send(stream, *numbers(3, 6))

    seen = Seen()
    async with consuming(mortal_nats, seen, leadership=Leadership(database, "probe", seconds=5)):
        await until(lambda: settled(stream))

    assert [body for batch in seen.batches for body in batch] == numbers(0, 6)
