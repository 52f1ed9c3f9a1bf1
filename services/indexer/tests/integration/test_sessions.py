"""A process that stands still in the middle of a statement does not hold its rows for ever."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from quarry_common.postgres.pool import Connection, connect_pool
from quarry_common.settings import load
from quarry_indexer.repository import sessions
from quarry_indexer.settings import IndexerSettings

from .conftest import until

SILENT_SECONDS = 0.5


@pytest.fixture
async def connection(environment: dict[str, str]) -> AsyncIterator[Connection]:
    settings = load(IndexerSettings, environment)
    async with connect_pool(settings, "indexer") as database, database.session() as found:
        yield found


@pytest.fixture
async def other(environment: dict[str, str]) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    found = await asyncpg.connect(environment["DATABASE_URL"])
    await found.execute("BEGIN")
    yield found
    found.terminate()


async def test_a_session_that_fell_silent_within_a_statement_is_ended(
    connection: Connection, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    # Prepared and not executed: Postgres waits for the rest of the statement.
    await other.prepare("SELECT $1::int")

    async def ended() -> bool:
        return await sessions.end_silent(connection, SILENT_SECONDS) == 1

    await until(ended, 10)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await other.fetchval("SELECT 1")


async def test_a_session_between_two_statements_is_left_to_its_own_limit(
    connection: Connection, other: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ended = await sessions.end_silent(connection, 0)

    assert ended == 0
    assert await other.fetchval("SELECT 1") == 1
