import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from nats.aio.client import Client

from quarry_common.messaging import broker, outbox
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import Migration, migrate, read
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.settings import NatsSettings, PostgresSettings, load
from quarry_local.ports import free_port
from quarry_local.servers import nats
from quarry_local.servers.launch import run_to_ready, stop
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

SERVICE = "probe"
PASSWORD = "of-the-test"

NOTES = Migration(
    1,
    "notes",
    """
    CREATE TABLE notes (id bigint PRIMARY KEY, tenant_id uuid NOT NULL, text text NOT NULL);
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON notes TO quarry_probe
        USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
        WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
    CREATE POLICY count_notes ON notes FOR SELECT TO quarry_probe_worker USING (true);
    GRANT SELECT (id) ON notes TO quarry_probe_worker;
    """,
)

Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
async def probe_admin_dsn(postgres_admin_dsn: str) -> str:
    """A fresh database with an outbox and one table of its own; the DSN is the owner's."""
    dsn = create_database(postgres_admin_dsn, SERVICE)
    admin = await asyncpg.connect(dsn)
    try:
        await migrate(
            admin, SERVICE, [*read([outbox.MIGRATIONS, idempotency.MIGRATIONS], SERVICE), NOTES], PASSWORD
        )
    finally:
        await admin.close()
    return dsn


@pytest.fixture
async def database(probe_admin_dsn: str) -> AsyncIterator[Database]:
    dsn = with_login(probe_admin_dsn, f"quarry_{SERVICE}", PASSWORD)
    settings = load(PostgresSettings, {"DATABASE_URL": dsn})
    async with connect_pool(settings, SERVICE) as connected:
        yield connected


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with broker.connect(load(NatsSettings, {"NATS_URL": nats_url}), "test") as client:
        yield client


class MortalNats:
    """A nats-server of one test, which may be killed and started again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._program = nats.program(folder / "nats", self._port, PASSWORD)
        self._log = folder / "nats.log"
        self.settings = load(NatsSettings, {"NATS_URL": nats.url(self._port, PASSWORD)})
        self.start()

    def start(self) -> None:
        self._process = run_to_ready(self._program, self._log, die_with_parent=True)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)

    def stop(self) -> None:
        if self._process.poll() is None:
            stop(self._program, psutil.Process(self._process.pid))
        self._process.wait(timeout=10)


@pytest.fixture
def mortal_nats(tmp_path: Path) -> Iterator[MortalNats]:
    server = MortalNats(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def until() -> Until:
    """Waits until a condition holds, for twenty seconds at most."""

    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + 20
        while not await condition():
            assert time.monotonic() < deadline, "the condition did not come true within 20 s"
            await asyncio.sleep(0.02)

    return wait
