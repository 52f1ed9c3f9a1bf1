"""A relay whose process is killed at the worst moments loses nothing, and consumers do nothing twice."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from libs.common.tests.integration.conftest import PASSWORD, MortalNats, Until
from nats.aio.client import Client
from nats.js.api import StreamConfig

from quarry_common.contracts.events import ApiKeyRevoked, CloudEvent
from quarry_common.contracts.streams import EVENTS
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.outbox import publish_event
from quarry_common.messaging.provision import stream_config
from quarry_common.postgres.pool import Database
from quarry_local.servers.postgres import with_login
from quarry_local.servers.program import environment

COUNT = 40
RELAY = Path(__file__).with_name("mortal_relay.py")


@pytest.fixture
async def stream(mortal_nats: MortalNats) -> AsyncIterator[Client]:
    """A bus that forgets at once what it has seen: whatever is published twice is delivered twice."""
    async with broker.connect(mortal_nats.settings, "test") as client:
        config = StreamConfig(**{**stream_config(EVENTS, 1).__dict__, "duplicate_window": 0.1})
        await client.jetstream().add_stream(config)
        yield client


@contextmanager
def relaying(point: str, probe_admin_dsn: str, nats: MortalNats) -> Iterator[subprocess.Popen[bytes]]:
    dsn = with_login(probe_admin_dsn, "quarry_probe", PASSWORD)
    process = subprocess.Popen(
        [sys.executable, str(RELAY), point],
        env=dict(environment(DATABASE_URL=dsn, NATS_URL=nats.settings.nats_url.get_secret_value())),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


async def killed(process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(30):
        while process.poll() is None:
            await asyncio.sleep(0.02)
    assert process.returncode == -signal.SIGKILL


async def write(database: Database, tenant_id: UUID) -> None:
    for number in range(COUNT):
        async with database.tenant_transaction(tenant_id) as connection:
            event = ApiKeyRevoked(new_id(), str(number))
            await publish_event(connection, event, service="probe", tenant_id=tenant_id)


async def consume(database: Database, client: Client, tenant_id: UUID) -> int:
    """Do once what each event asks for, and return how many messages came for it."""
    subscription = await client.jetstream().pull_subscribe("evt.v1.>", "effects", "EVENTS")
    pending = (await subscription.consumer_info()).num_pending
    came = 0
    while came < pending:
        for message in await subscription.fetch(100, timeout=5):
            event = msgspec.json.decode(message.data, type=CloudEvent)
            async with database.tenant_transaction(tenant_id) as connection:
                await connection.execute(
                    "INSERT INTO notes (id, tenant_id, text) VALUES (hashtextextended($2, 0), $1, $2) "
                    "ON CONFLICT DO NOTHING",
                    tenant_id,
                    event.id,
                )
            await message.ack()
            came += 1
    return came


async def effects(database: Database, tenant_id: UUID) -> set[str]:
    async with database.tenant_transaction(tenant_id) as connection:
        return {row["text"] for row in await connection.fetch("SELECT text FROM notes")}


@pytest.mark.parametrize(("point", "least"), [("commit", COUNT), ("publish", 2 * COUNT)])
async def test_a_relay_that_is_killed_loses_nothing_and_each_effect_happens_once(
    point: str,
    least: int,
    database: Database,
    stream: Client,
    mortal_nats: MortalNats,
    probe_admin_dsn: str,
    until: Until,
) -> None:
    tenant_id = new_id()
    await write(database, tenant_id)
    with relaying(point, probe_admin_dsn, mortal_nats) as process:
        await killed(process)
    assert await waiting(database) == COUNT

    # Its lease is its own still; nobody waits for that here.
    async with database.worker_transaction() as worker:
        await worker.execute("DELETE FROM leaders")
    with relaying("never", probe_admin_dsn, mortal_nats):
        await until(lambda: empty(database))

    came = await consume(database, stream, tenant_id)
    assert came == least
    async with database.worker_transaction() as worker:
        rows = await worker.fetch("SELECT body FROM outbox")
    told = {msgspec.json.decode(row["body"], type=CloudEvent).id for row in rows}
    assert len(told) == COUNT
    assert await effects(database, tenant_id) == told


async def waiting(database: Database) -> int:
    async with database.worker_transaction() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"))


async def empty(database: Database) -> bool:
    return await waiting(database) == 0
