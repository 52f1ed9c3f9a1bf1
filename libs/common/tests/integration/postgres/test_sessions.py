"""A process that stands still in the middle of a statement does not hold its rows for ever."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from libs.common.tests.integration.conftest import PASSWORD, SERVICE, Until

from quarry_common.postgres import sessions
from quarry_common.postgres.pool import Connection, Database
from quarry_common.postgres.sessions import SilentSessions, end_silent
from quarry_local.servers.postgres import with_login

SILENT_SECONDS = 0.5
BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    async with database.session() as found:
        yield found


@pytest.fixture
async def other(probe_admin_dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    found = await asyncpg.connect(with_login(probe_admin_dsn, f"quarry_{SERVICE}", PASSWORD))
    await found.execute("BEGIN")
    yield found
    found.terminate()


async def test_a_session_that_fell_silent_within_a_statement_is_ended(
    connection: Connection, other: "asyncpg.Connection[asyncpg.Record]", until: Until
) -> None:
    # Prepared and not executed: Postgres waits for the rest of the statement.
    await other.prepare("SELECT $1::int")

    async def ended() -> bool:
        return await end_silent(connection, SILENT_SECONDS) == 1

    await until(ended)
    with pytest.raises(BROKEN):
        await other.fetchval("SELECT 1")


async def test_a_session_between_two_statements_is_left_to_its_own_limit(
    connection: Connection, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ended = await end_silent(connection, 0)

    assert ended == 0
    assert await other.fetchval("SELECT 1") == 1


async def test_every_process_looks_for_them(
    database: Database,
    other: "asyncpg.Connection[asyncpg.Record]",
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "IDLE_IN_TRANSACTION_SECONDS", SILENT_SECONDS)
    monkeypatch.setattr(sessions, "EVERY_SECONDS", 0.1)
    await other.prepare("SELECT $1::int")
    stopping = asyncio.Event()
    looking = asyncio.create_task(SilentSessions(database).run(stopping))

    async def closed() -> bool:
        return other.is_closed()

    await until(closed)
    stopping.set()
    await looking
