"""Nothing is lost and nothing signed wrongly, whoever is killed and however receivers behave."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from aiohttp import web
from libs.common.tests.integration.conftest import MortalNats
from standardwebhooks import Webhook

from quarry_common.contracts.events import CollectionDeleted, envelope, subject_of
from quarry_common.contracts.streams import DEAD_LETTERS, EVENTS, WEBHOOKS_EVENTS
from quarry_common.contracts.webhooks import EndpointChanges, EndpointRef, UpdateEndpoint
from quarry_common.messaging import broker
from quarry_common.messaging.provision import provision
from quarry_common.postgres.pool import Database
from quarry_local.servers.postgres import with_login
from quarry_webhooks.egress.urls import Policy
from quarry_webhooks.handlers.endpoints import Endpoints

from .conftest import PASSWORD, SECRET, Clock, PlainSealer, World, until
from .process import ACK_WAIT_SECONDS
from .receivers import Received, Receiver, receiving

GONE = 99
GONE_AT = frozenset({70, 160})
"""Requests that are answered by 410: the endpoint is disabled, until its owner enables it again."""
KINDS = {
    0: "500", 1: "500", 2: "500", 3: "429", 4: "301", 5: "closed", 6: "closed", 7: "stalled", GONE: "410",
}  # fmt: skip
PROCESS = Path(__file__).with_name("process.py")


class Platform:
    """Processes that deliver, with a bus of their own."""

    def __init__(self, dsn: str, server: MortalNats) -> None:
        self._dsn = dsn
        self._server = server
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROCESS), self._dsn, self._server.settings.nats_url.get_secret_value()
        )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(20):
            assert await self._process.wait() == 0


@pytest.fixture
def mortal_nats(tmp_path: Path) -> Iterator[MortalNats]:
    server = MortalNats(tmp_path)
    yield server
    server.stop()


@asynccontextmanager
async def a_bad_receiver(answers: Counter[str]) -> AsyncIterator[Receiver]:
    """A receiver that fails two times in five, in every way, and twice wants nothing any more."""
    chance = random.Random(7)

    async def answer(_: Received) -> web.StreamResponse:
        kind = GONE if answers.total() in GONE_AT else chance.randrange(20)
        answers[KINDS.get(kind, "200")] += 1
        match kind:
            case 0 | 1 | 2:
                return web.Response(status=500)
            case 3:
                return web.Response(status=429, headers={"Retry-After": "1"})
            case 4:
                return web.Response(status=301, headers={"Location": "http://127.0.0.1:9/"})
            case 5 | 6:
                raise ConnectionAbortedError  # answered by a closed connection
            case 7:
                await asyncio.sleep(30)
            case 99:
                return web.Response(status=410)
        return web.Response()

    async with receiving() as receiver:
        receiver.answer = answer
        yield receiver


@pytest.mark.parametrize("count", [200, pytest.param(2_000, marks=pytest.mark.full)])
@pytest.mark.timeout(600)
async def test_every_event_arrives_though_everything_is_killed(
    count: int,
    capsys: pytest.CaptureFixture[str],
    admin: "asyncpg.Connection[asyncpg.Record]",
    database: Database,
    clock: Clock,
    webhooks_admin_dsn: str,
    mortal_nats: MortalNats,
) -> None:
    answers: Counter[str] = Counter()
    consumer = msgspec.structs.replace(WEBHOOKS_EVENTS, ack_wait_seconds=ACK_WAIT_SECONDS)
    async with (
        a_bad_receiver(answers) as bad,
        receiving() as good,
        broker.connect(mortal_nats.settings, "test") as bus,
    ):
        await provision(bus.jetstream(), [EVENTS, DEAD_LETTERS], [consumer], replicas=1)
        world = World(admin, database, bus, clock)
        tenant_id = uuid4()
        _, first = await world.endpoint(bad.url, tenant_id=tenant_id)
        _, second = await world.endpoint(good.url, tenant_id=tenant_id, ordered=True)
        platform = Platform(with_login(webhooks_admin_dsn, "quarry_webhooks", PASSWORD), mortal_nats)
        await platform.start()
        owner = asyncio.create_task(enabling(database, EndpointRef(tenant_id, first)))
        sent: list[str] = []
        for kill in range(5):
            for number in range(count // 5):
                event = envelope(CollectionDeleted("manuals", number), source="indexer", tenant_id=tenant_id)
                await published(world, subject_of(event), msgspec.json.encode(event), event.id)
                sent.append(event.id)
            already = len(good.received)

            async def went_on(already: int = already) -> bool:
                return len(good.received) > already

            await until(went_on, 60)
            await platform.kill()
            if kill in {1, 3}:
                mortal_nats.kill()
                mortal_nats.start()
            await platform.start()

        for endpoint_id in (first, second):
            await until(lambda endpoint_id=endpoint_id: world.all_are(endpoint_id, "delivered", count), 300)
        await platform.stop()
        owner.cancel()

        assert set(bad.ids()) == set(good.ids()) == set(sent)
        assert list(dict.fromkeys(good.ids())) == sent  # in order; what was repeated counts the first time
        for received in [*bad.received, *good.received]:
            Webhook(SECRET).verify(received.body, received.headers)
        numbers = await admin.fetch(
            "SELECT array_agg(number ORDER BY number) FROM attempts GROUP BY delivery_id"
        )
        assert all(row[0] == list(range(1, len(row[0]) + 1)) for row in numbers)
        assert answers.keys() == {*KINDS.values(), "200"}
        with capsys.disabled():
            repeated = [len(each.received) - len(sent) for each in (bad, good)]
            print(
                f"\n{len(sent)} events, 5 kills of the service, 2 of the bus; none lost, all signatures hold."
            )
            print(f"  bad receiver:  {dict(answers)}; {repeated[0]} requests more than events")
            print(f"  good receiver: in order; {repeated[1]} events came twice")


async def enabling(database: Database, ref: EndpointRef) -> None:
    """Enable the endpoint again whenever it is disabled, as its owner would."""
    handlers = Endpoints(database, PlainSealer(), Policy((), allow_http=True))  # type: ignore[arg-type]
    while True:
        await asyncio.sleep(0.2)
        found = await handlers.get(ref)
        if not found.enabled:
            await handlers.update(UpdateEndpoint(ref, EndpointChanges(enabled=True)))


async def published(world: World, subject: str, body: bytes, message_id: str) -> None:
    async def is_published() -> bool:
        try:
            await world.publish_raw(subject, body, message_id)
        except Exception:  # noqa: BLE001 - until the client is connected again
            return False
        return True

    await until(is_published)
