import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import msgspec
import pytest
from libs.common.tests.integration.conftest import MortalNats, Until
from nats.aio.client import Client
from nats.errors import Error as NatsError

from quarry_common.contracts.streams import COMMANDS, DEAD_LETTERS, Consumer
from quarry_common.errors import ConflictError, UnavailableError
from quarry_common.messaging import broker
from quarry_common.messaging.consumer import DeadLetter, Delivery, DurableConsumer, PermanentError
from quarry_common.messaging.provision import provision
from quarry_common.messaging.watchdog import consumers_exist

PROBE = Consumer("COMMANDS", "probe-commands", "probe", "cmd.v1.probe.>", ack_wait_seconds=2, max_deliver=3)
SUBJECT = "cmd.v1.probe.0190a6b2-0000-7000-8000-000000000000.try"

Handler = Callable[[Delivery], Awaitable[None]]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed messages come again soon, and an idle fetch ends soon."""
    monkeypatch.setattr("quarry_common.messaging.consumer.FIRST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr("quarry_common.messaging.consumer.FETCH_SECONDS", 0.5)


@pytest.fixture
async def stream(mortal_nats: MortalNats) -> AsyncIterator[Client]:
    async with broker.connect(mortal_nats.settings, "test") as client:
        await provision(client.jetstream(), [COMMANDS, DEAD_LETTERS], [PROBE], replicas=1)
        yield client


@asynccontextmanager
async def consuming(server: MortalNats, handler: Handler) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    consumer = DurableConsumer(broker.broker(server.settings, "probe"), PROBE, handler)
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
    return (await client.jetstream(timeout=2).stream_info("COMMANDS")).state.messages == 0


async def dead_letters(client: Client) -> list[DeadLetter]:
    jetstream = client.jetstream(timeout=2)
    state = (await jetstream.stream_info("DEAD_LETTERS")).state
    found = []
    for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
        message = await jetstream.get_msg("DEAD_LETTERS", sequence)
        assert message.data is not None
        assert message.subject == "dlq.v1.probe.0190a6b2-0000-7000-8000-000000000000.probe-commands"
        found.append(msgspec.json.decode(message.data, type=DeadLetter))
    return found


class Seen:
    """A handler that remembers, and fails as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.deliveries: list[Delivery] = []
        self._failures = list(failures)

    async def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self._failures:
            raise self._failures.pop(0)


async def test_a_handled_message_is_gone(mortal_nats: MortalNats, stream: Client, until: Until) -> None:
    seen = Seen()
    async with consuming(mortal_nats, seen):
        await send(stream, "one", "two")
        await until(lambda: settled(stream))

    assert sorted(seen.deliveries, key=lambda d: d.body) == [
        Delivery(SUBJECT, b"one", 1),
        Delivery(SUBJECT, b"two", 1),
    ]
    assert await dead_letters(stream) == []


async def test_a_failed_message_comes_again_after_a_while(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen = Seen(ConflictError("not now"))
    async with consuming(mortal_nats, seen):
        await send(stream, "again")
        await until(lambda: settled(stream))

    assert [delivery.attempt for delivery in seen.deliveries] == [1, 2]


async def test_after_the_last_attempt_it_is_a_dead_letter(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    error = ConflictError("never", advice="Give up.")
    seen = Seen(error, error, error, error)
    async with consuming(mortal_nats, seen):
        await send(stream, "doomed")
        await until(lambda: settled(stream))

    assert len(seen.deliveries) == 3
    assert await dead_letters(stream) == [DeadLetter(SUBJECT, b"doomed", "probe-commands", 3, error.data)]


@pytest.mark.parametrize(
    "error", [PermanentError("no use"), msgspec.ValidationError("bad"), msgspec.DecodeError("bad")]
)
async def test_a_permanent_error_is_a_dead_letter_at_once(
    mortal_nats: MortalNats, stream: Client, until: Until, error: Exception
) -> None:
    seen = Seen(error)
    async with consuming(mortal_nats, seen):
        await send(stream, "wrong")
        await until(lambda: settled(stream))

    (letter,) = await dead_letters(stream)
    assert (letter.attempts, letter.error.code, letter.error.detail) == (1, "message_rejected", str(error))


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"{" * 5000])
async def test_a_malformed_message_does_not_hinder_the_others(
    mortal_nats: MortalNats, stream: Client, until: Until, body: bytes
) -> None:
    read: list[object] = []

    async def handle(delivery: Delivery) -> None:
        read.append(msgspec.json.decode(delivery.body))

    async with consuming(mortal_nats, handle):
        await stream.jetstream().publish(SUBJECT, body)
        await send(stream, '"fine"')
        await until(lambda: settled(stream))

    assert read == ["fine"]
    assert [letter.body for letter in await dead_letters(stream)] == [body]


async def test_a_message_that_ends_every_process_is_a_dead_letter(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    await send(stream, "poison")
    pull = await stream.jetstream().pull_subscribe(PROBE.filter_subject, PROBE.name, stream="COMMANDS")
    for _ in range(3):
        # As if the process had ended: nothing is settled, and it comes again when the time is up.
        (message,) = await pull.fetch(1, timeout=10)
        await message.nak()
    await pull.unsubscribe()

    seen = Seen()
    async with consuming(mortal_nats, seen):
        await until(lambda: settled(stream))

    assert seen.deliveries == []
    (letter,) = await dead_letters(stream)
    assert "without an answer" in letter.error.detail


async def test_a_long_handler_keeps_its_message(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen = Seen()
    loop = asyncio.get_running_loop()

    async def work(delivery: Delivery) -> None:
        await seen(delivery)
        done = asyncio.Event()
        loop.call_later(2.2 * PROBE.ack_wait_seconds, done.set)
        await done.wait()

    async with consuming(mortal_nats, work):
        await send(stream, "long", "longer")
        await until(lambda: settled(stream))

    assert [delivery.attempt for delivery in seen.deliveries] == [1, 1]


async def test_consuming_goes_on_after_the_bus_was_killed(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen = Seen()
    began, release = asyncio.Event(), asyncio.Event()

    async def work(delivery: Delivery) -> None:
        await seen(delivery)
        began.set()
        await release.wait()

    async with consuming(mortal_nats, work):
        await send(stream, "in hand")
        await began.wait()
        mortal_nats.kill()
        release.set()
        mortal_nats.start()

        async def sent_after() -> bool:
            with suppress(NatsError):
                await stream.jetstream(timeout=1).publish(SUBJECT, b"after", headers={"Nats-Msg-Id": "after"})
                return True
            return False

        await until(sent_after)
        await until(lambda: settled(stream))

    assert {delivery.body for delivery in seen.deliveries} == {b"in hand", b"after"}


async def test_two_processes_share_the_work(mortal_nats: MortalNats, stream: Client, until: Until) -> None:
    one, other = Seen(), Seen()
    async with consuming(mortal_nats, one), consuming(mortal_nats, other):
        await send(stream, *(str(number) for number in range(60)))
        await until(lambda: settled(stream))

    bodies = [delivery.body for delivery in (*one.deliveries, *other.deliveries)]
    assert len(bodies) == len(set(bodies)) == 60
    assert one.deliveries
    assert other.deliveries


async def test_what_is_in_hand_is_finished_when_it_stops(mortal_nats: MortalNats, stream: Client) -> None:
    began, release = asyncio.Event(), asyncio.Event()
    finished: list[bytes] = []

    async def work(delivery: Delivery) -> None:
        began.set()
        await release.wait()
        finished.append(delivery.body)

    async with consuming(mortal_nats, work):
        await send(stream, "in hand")
        await began.wait()
        asyncio.get_running_loop().call_later(0.3, release.set)

    assert finished == [b"in hand"]
    assert await settled(stream)


async def test_it_does_not_make_a_missing_consumer(mortal_nats: MortalNats, stream: Client) -> None:
    await stream.jetstream().delete_consumer("COMMANDS", PROBE.name)

    consumer = DurableConsumer(broker.broker(mortal_nats.settings, "probe"), PROBE, Seen())
    with pytest.raises(UnavailableError) as caught:
        await consumer.run(asyncio.Event())

    assert "quarry migrate" in caught.value.data.advice
    with pytest.raises(UnavailableError):
        await consumers_exist(stream, [PROBE])()


async def test_a_vanished_consumer_makes_the_check_fail_with_advice(
    mortal_nats: MortalNats, stream: Client
) -> None:
    check = consumers_exist(stream, [PROBE])
    await check()

    await stream.jetstream().delete_consumer("COMMANDS", PROBE.name)

    with pytest.raises(UnavailableError, match="probe-commands of stream COMMANDS is missing") as caught:
        await check()
    assert "quarry migrate" in caught.value.data.advice
    await stream.jetstream().delete_stream("COMMANDS")
    with pytest.raises(UnavailableError, match="is missing"):
        await check()


async def test_provisioning_twice_changes_nothing(mortal_nats: MortalNats, stream: Client) -> None:
    await send(stream, "kept")
    before = await stream.jetstream().consumer_info("COMMANDS", PROBE.name)

    await provision(stream.jetstream(), [COMMANDS, DEAD_LETTERS], [PROBE], replicas=1)

    after = await stream.jetstream().consumer_info("COMMANDS", PROBE.name)
    assert (after.config, after.created) == (before.config, before.created)
    assert (await stream.jetstream().stream_info("COMMANDS")).state.messages == 1


async def test_provisioning_applies_changed_settings(mortal_nats: MortalNats, stream: Client) -> None:
    await send(stream, "kept")
    changed = msgspec.structs.replace(COMMANDS, max_age_seconds=3600, max_bytes=1 << 20)
    slower = msgspec.structs.replace(PROBE, ack_wait_seconds=77, max_ack_pending=5)

    await provision(stream.jetstream(), [changed], [slower], replicas=1)

    info = await stream.jetstream().stream_info("COMMANDS")
    consumer = await stream.jetstream().consumer_info("COMMANDS", PROBE.name)
    assert (info.config.max_age, info.config.max_bytes, info.state.messages) == (3600, 1 << 20, 1)
    assert (consumer.config.ack_wait, consumer.config.max_ack_pending) == (77, 5)


async def test_a_process_that_hears_of_its_work_under_another_name_is_not_disturbed(
    mortal_nats: MortalNats, stream: Client, until: Until
) -> None:
    seen = Seen()
    async with consuming(mortal_nats, seen):
        await stream.jetstream().publish(f"cmd.v1.other.{uuid4()}.try", b"not ours")
        await send(stream, "ours")

        async def got_ours() -> bool:
            return bool(seen.deliveries)

        await until(got_ours)

    assert [delivery.body for delivery in seen.deliveries] == [b"ours"]
