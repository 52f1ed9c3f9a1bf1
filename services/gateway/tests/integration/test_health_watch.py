"""Changes of health on a real bus, with a real Redis that is stopped and started."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from libs.common.tests.integration.conftest import MortalNats
from nats.aio.client import Client

from quarry_common.contracts.events import CloudEvent, HealthCheckFailed, decode_data
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.health import Health
from quarry_common.messaging import broker
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.health.checks import CACHE, MESSAGE_BUS, open_checks
from quarry_gateway.health.watch import HealthWatch
from quarry_gateway.settings import GatewaySettings
from quarry_local.ports import free_port
from quarry_local.servers import redis
from quarry_local.servers.launch import run_to_ready

PASSWORD = "of-the-test"


class MortalRedis:
    """A Redis of one test, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._program = redis.program(folder / "redis", port, PASSWORD)
        self._log = folder / "redis.log"
        self.url = redis.url(port, PASSWORD)
        self.start()

    def start(self) -> None:
        self._process = run_to_ready(self._program, self._log, die_with_parent=True)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[MortalRedis]:
    server = MortalRedis(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[MortalNats]:
    server = MortalNats(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def stream(own_nats: MortalNats) -> AsyncIterator[Client]:
    async with broker.connect(own_nats.settings, "test") as client:
        await provision(client.jetstream(), [EVENTS], [], replicas=1)
        yield client


@asynccontextmanager
async def watching(nats: MortalNats, cache: MortalRedis) -> AsyncIterator[HealthWatch]:
    """One gateway's watch, with a connection of its own. It looks when it is told to."""
    settings = GatewaySettings(nats_url=nats.settings.nats_url, redis_url=cache.url)
    async with (
        broker.connect(settings, "gateway") as connection,
        open_checks(settings, connection, RpcClient(connection)) as checks,
    ):
        watched = {name: checks[name] for name in (CACHE, MESSAGE_BUS)}
        yield HealthWatch(Health(watched), connection, interval_seconds=0.05)


@pytest.fixture(autouse=True)
def asked_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarry_common.health.FRESH_SECONDS", -1.0)


async def told(client: Client) -> list[CloudEvent]:
    jetstream = client.jetstream(timeout=2)
    state = (await jetstream.stream_info("EVENTS")).state
    found = []
    for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
        message = await jetstream.get_msg("EVENTS", sequence)
        found.append(msgspec.json.decode(message.data or b"", type=CloudEvent))
    return found


def named(events: list[CloudEvent]) -> list[tuple[str, str]]:
    return [(event.type, event.subject) for event in events]


async def test_a_killed_redis_is_told_once_by_three_gateways_and_that_it_is_back(
    own_nats: MortalNats, cache: MortalRedis, stream: Client
) -> None:
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(watching(own_nats, cache)) for _ in range(3)]

        async def look() -> None:
            await asyncio.gather(*(watch.look() for watch in watches))

        await look()
        cache.kill()
        for _ in range(4):
            await look()
        failed = await told(stream)
        cache.start()
        for _ in range(3):
            await look()

    events = await told(stream)
    assert named(failed) == [("health.check_failed", "cache")]
    assert named(events) == [("health.check_failed", "cache"), ("health.recovered", "cache")]
    assert {event.tenantid for event in events} == {str(PLATFORM_TENANT)}
    data = decode_data(events[0])
    assert isinstance(data, HealthCheckFailed)
    assert data.detail == "The cache does not answer."


async def test_a_gateway_that_starts_while_redis_is_away_repeats_nothing(
    own_nats: MortalNats, cache: MortalRedis, stream: Client
) -> None:
    cache.kill()
    for _ in range(2):
        async with watching(own_nats, cache) as watch:
            for _ in range(3):
                await watch.look()
    cache.start()
    async with watching(own_nats, cache) as watch:
        for _ in range(6):
            await watch.look()

    assert named(await told(stream)) == [("health.check_failed", "cache"), ("health.recovered", "cache")]


async def test_what_happens_while_the_bus_is_killed_is_told_afterwards(
    own_nats: MortalNats, cache: MortalRedis, stream: Client
) -> None:
    async with watching(own_nats, cache) as watch:
        await watch.look()
        own_nats.kill()
        cache.kill()
        for _ in range(3):
            await watch.look()
        own_nats.start()
        async with asyncio.timeout(20):
            while not watch._connection.is_connected or not stream.is_connected:
                await asyncio.sleep(0.02)
        await watch.look()

    events = named(await told(stream))
    assert sorted(events[:2]) == [("health.check_failed", "cache"), ("health.check_failed", "message_bus")]
    assert events[2:] == [("health.recovered", "message_bus")]


async def test_it_watches_until_it_is_stopped(
    own_nats: MortalNats, cache: MortalRedis, stream: Client
) -> None:
    stopping = asyncio.Event()
    cache.kill()
    async with watching(own_nats, cache) as watch:
        running = asyncio.create_task(watch.run(stopping))
        async with asyncio.timeout(20):
            while not await told(stream):
                await asyncio.sleep(0.02)
        stopping.set()
        async with asyncio.timeout(10):
            await running

    assert named(await told(stream)) == [("health.check_failed", "cache")]
