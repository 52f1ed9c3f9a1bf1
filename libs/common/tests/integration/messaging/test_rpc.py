import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest
from libs.common.tests.integration.conftest import MortalNats
from nats.aio.client import Client
from opentelemetry import trace

from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import (
    ConflictError,
    DeadlineExceededError,
    PayloadTooLargeError,
    RemoteError,
    UnavailableError,
)
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import DEADLINE_HEADER, RpcClient, RpcServer
from quarry_common.settings import NatsSettings, load


class Text(msgspec.Struct, frozen=True):
    text: str


Handler = Callable[[Text], Awaitable[Text]]


def method_of_its_own() -> RpcMethod[Text, Text]:
    return RpcMethod(f"probe-{new_id()}", "say", Text, Text)


@asynccontextmanager
async def answering(
    bus: Client, method: RpcMethod[Text, Text], handler: Handler, concurrency: int = 64
) -> AsyncIterator[asyncio.Event]:
    """A server that answers `method`; yields the event that stops it."""
    server, stopping = RpcServer(bus, method.service, concurrency), asyncio.Event()
    server.answer(method, handler)
    running = asyncio.create_task(server.run(stopping))
    await bus.flush()
    try:
        yield stopping
    finally:
        stopping.set()
        async with asyncio.timeout(10):
            await running


async def echo(request: Text) -> Text:
    return request


async def test_a_request_is_answered(bus: Client) -> None:
    method = method_of_its_own()
    async with answering(bus, method, echo):
        assert await RpcClient(bus).call(method, Text("grüße")) == Text("grüße")


async def test_a_typed_error_reaches_the_caller_whole(bus: Client) -> None:
    error = ConflictError("It is taken.", advice="Take another.", retry_after_seconds=3)

    async def refuse(_: Text) -> Text:
        raise error

    method = method_of_its_own()
    async with answering(bus, method, refuse):
        with pytest.raises(RemoteError) as caught:
            await RpcClient(bus).call(method, Text(""))

    assert caught.value.data == error.data


async def test_an_error_from_further_behind_keeps_its_code(bus: Client) -> None:
    far, near = method_of_its_own(), method_of_its_own()

    async def refuse(_: Text) -> Text:
        raise ConflictError("far away")

    async def ask(request: Text) -> Text:
        return await RpcClient(bus).call(far, request)

    async with answering(bus, far, refuse), answering(bus, near, ask):
        with pytest.raises(RemoteError) as caught:
            await RpcClient(bus).call(near, Text(""))

    assert (caught.value.data.code, caught.value.data.detail) == ("conflict", "far away")


async def test_an_unforeseen_error_tells_nothing_of_its_inside(bus: Client) -> None:
    async def fail(_: Text) -> Text:
        raise KeyError("password=hunter2")

    method = method_of_its_own()
    async with answering(bus, method, fail):
        with pytest.raises(RemoteError) as caught:
            await RpcClient(bus).call(method, Text(""))

    assert caught.value.data.code == "internal_error"
    assert "hunter2" not in msgspec.json.encode(caught.value.data).decode()


async def test_nobody_listening_is_told_at_once(bus: Client) -> None:
    async with asyncio.timeout(2):
        with pytest.raises(UnavailableError, match="is not running"):
            await RpcClient(bus).call(method_of_its_own(), Text(""), timeout_seconds=30)


async def test_a_late_handler_is_stopped_and_the_caller_told(bus: Client) -> None:
    stopped = asyncio.Event()

    async def wait(_: Text) -> Text:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    method = method_of_its_own()
    async with answering(bus, method, wait):
        with pytest.raises((DeadlineExceededError, RemoteError)) as caught:
            await RpcClient(bus).call(method, Text(""), timeout_seconds=0.2)
        async with asyncio.timeout(5):
            await stopped.wait()

    assert caught.value.data.code == "deadline_exceeded"


async def test_more_than_may_wait_are_told_to_come_back(bus: Client) -> None:
    release = asyncio.Event()

    async def wait(request: Text) -> Text:
        await release.wait()
        return request

    method = method_of_its_own()
    async with answering(bus, method, wait, concurrency=1):
        client = RpcClient(bus)
        calls = [asyncio.create_task(client.call(method, Text(str(i)))) for i in range(40)]
        done, pending = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 40 - 17:
            more, pending = await asyncio.wait(pending, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            assert more
            done |= more
        release.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, RemoteError)]
    assert len(refused) == 40 - 17
    assert {error.data.code for error in refused} == {"unavailable"}
    assert {error.data.retry_after_seconds for error in refused} == {1}
    assert sum(isinstance(answer, Text) for answer in answers) == 17


async def test_a_stopping_server_finishes_what_it_began_and_takes_no_more(bus: Client) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def wait(request: Text) -> Text:
        began.set()
        await release.wait()
        return request

    method, client = method_of_its_own(), RpcClient(bus)
    async with answering(bus, method, wait) as stopping:
        first = asyncio.create_task(client.call(method, Text("first")))
        await began.wait()
        stopping.set()
        async with asyncio.timeout(5):
            while True:
                try:
                    await client.call(method, Text("later"), timeout_seconds=0.1)
                except UnavailableError as error:
                    if error.data.code == "unavailable":
                        break
                except RemoteError:
                    continue
        release.set()
        assert await first == Text("first")


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"text": 1}', b'{"text": "\\ud800"}', b"{" * 9999]
)
async def test_a_body_that_is_no_request_is_a_validation_error(bus: Client, body: bytes) -> None:
    method = method_of_its_own()
    async with answering(bus, method, echo):
        reply = await bus.request(method.subject, body, timeout=5)

    data = msgspec.json.decode(reply.data)
    assert (data["code"], data["status"]) == ("validation_failed", 422)


@pytest.mark.parametrize("deadline", ["", "-1", "x", "1e9", "9" * 30, "५"])
async def test_a_strange_deadline_is_no_harm(bus: Client, deadline: str) -> None:
    method = method_of_its_own()
    async with answering(bus, method, echo):
        reply = await bus.request(
            method.subject, b'{"text":"a"}', timeout=5, headers={DEADLINE_HEADER: deadline}
        )

    assert reply.data


async def test_a_request_that_is_too_large_is_refused_before_it_is_sent(bus: Client) -> None:
    with pytest.raises(PayloadTooLargeError):
        await RpcClient(bus).call(method_of_its_own(), Text("x" * bus.max_payload))


async def test_an_answer_that_is_too_large_is_an_error(bus: Client) -> None:
    async def much(_: Text) -> Text:
        return Text("x" * bus.max_payload)

    method = method_of_its_own()
    async with answering(bus, method, much):
        with pytest.raises(RemoteError) as caught:
            await RpcClient(bus).call(method, Text(""))

    assert caught.value.data.code == "payload_too_large"


async def test_the_handler_works_in_the_callers_trace(bus: Client) -> None:
    seen: list[int] = []

    async def look(request: Text) -> Text:
        seen.append(trace.get_current_span().get_span_context().trace_id)
        return request

    method = method_of_its_own()
    async with answering(bus, method, look):
        await bus.request(
            method.subject,
            b'{"text":"a"}',
            timeout=5,
            headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        )

    assert seen == [0x0AF7651916CD43DD8448EB211C80319C]


async def test_two_servers_of_a_service_share_the_requests(bus: Client, nats_url: str) -> None:
    counts = [0, 0]

    def counter(which: int) -> Handler:
        async def count(request: Text) -> Text:
            counts[which] += 1
            return request

        return count

    method = method_of_its_own()
    async with answering(bus, method, counter(0)), answering(bus, method, counter(1)):
        await asyncio.gather(*(RpcClient(bus).call(method, Text("")) for _ in range(100)))

    assert sum(counts) == 100
    assert min(counts) > 0


async def test_while_the_bus_is_away_a_call_fails_at_once_and_is_not_made_later(
    mortal_nats: MortalNats,
) -> None:
    made: list[str] = []

    async def note(request: Text) -> Text:
        made.append(request.text)
        return request

    method = method_of_its_own()
    async with (
        broker.connect(mortal_nats.settings, "server") as there,
        broker.connect(mortal_nats.settings, "client") as here,
    ):
        server, stopping = RpcServer(there, method.service), asyncio.Event()
        server.answer(method, note)
        running = asyncio.create_task(server.run(stopping))
        client = RpcClient(here)
        async with asyncio.timeout(10):
            while not made:
                with suppress(UnavailableError):
                    await client.call(method, Text("before"))
        mortal_nats.kill()
        async with asyncio.timeout(10):
            while here.is_connected or there.is_connected:
                await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError) as caught:
            await client.call(method, Text("while away"), timeout_seconds=1)
        mortal_nats.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.call(method, Text("back"))
                    break
                except UnavailableError:
                    await asyncio.sleep(0.05)
        stopping.set()
        async with asyncio.timeout(10):
            await running

    assert caught.value.data.code == "unavailable"
    assert set(made) == {"before", "back"}


async def test_a_server_stops_in_peace_while_the_bus_is_away(mortal_nats: MortalNats) -> None:
    async with broker.connect(mortal_nats.settings, "server") as there:
        server, stopping = RpcServer(there, "probe"), asyncio.Event()
        server.answer(method_of_its_own(), echo)
        running = asyncio.create_task(server.run(stopping))
        await asyncio.sleep(0)
        await there.flush()
        mortal_nats.kill()
        stopping.set()
        async with asyncio.timeout(15):
            await running


async def test_a_bus_that_does_not_answer_is_said_so() -> None:
    with pytest.raises(UnavailableError, match="NATS_URL"):
        async with broker.connect(load(NatsSettings, {"NATS_URL": "nats://127.0.0.1:9"}), "test"):
            pass


async def test_each_process_answers_what_is_asked_of_each(bus: Client) -> None:
    method = method_of_its_own()
    released = asyncio.Event()

    async def name(text: str) -> Text:
        return Text(text)

    async def late(_: Text) -> Text:
        await released.wait()
        return Text("late")

    async def refuse(_: Text) -> Text:
        raise ConflictError("It is taken.")

    servers, stopping = [], asyncio.Event()
    handlers: list[Handler] = [lambda _: name("one"), lambda _: name("two"), late, refuse]
    for handler in handlers:
        server = RpcServer(bus, method.service)
        server.answer(method, handler, each=True)
        servers.append(asyncio.create_task(server.run(stopping)))
    await asyncio.sleep(0)
    await bus.flush()

    replies = await RpcClient(bus).gather(method, Text(""), seconds=0.3)

    released.set()
    stopping.set()
    await asyncio.gather(*servers)
    assert sorted(reply.text for reply in replies) == ["one", "two"]


async def test_where_nobody_is_nobody_is_waited_for(bus: Client) -> None:
    async with asyncio.timeout(2):
        assert await RpcClient(bus).gather(method_of_its_own(), Text(""), seconds=30) == []
