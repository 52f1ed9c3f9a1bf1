"""A service's connections. Every statement runs inside a tenant's transaction or says aloud why not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias
from uuid import UUID

import asyncpg

from quarry_common.errors import DeadlineExceededError, UnavailableError
from quarry_common.postgres.connecting import LOST, connecting, tls_context
from quarry_common.settings import PostgresSettings

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

ACQUIRE_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
IDLE_IN_TRANSACTION_SECONDS = 15.0
"""Longer than all that is awaited between two statements of a transaction. A process that stands still in the
middle of one must not hold its rows for ever: nobody could take its jobs over."""

_NOT_MIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the loss of the database, or a schema that is not migrated yet, into an error to retry on."""
    try:
        yield
    except TimeoutError as error:
        raise DeadlineExceededError("The database did not answer in time.", retry_after_seconds=2) from error
    except _NOT_MIGRATED as error:
        raise UnavailableError(
            f"The database has not what this version needs: {error}.",
            advice="Run `quarry migrate`, then restart this service.",
        ) from error
    except asyncpg.DeadlockDetectedError as error:
        raise UnavailableError(
            "Two changes were in each other's way; this one was undone.", retry_after_seconds=1
        ) from error
    except LOST as error:
        raise UnavailableError("The database cannot be reached.", retry_after_seconds=2) from error


class Database:
    """The connections of one service to its own schema."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", service: str) -> None:
        self._pool = pool
        self.service = service
        self.worker_role = f"quarry_{service}_worker"

    @asynccontextmanager
    async def tenant_transaction(self, tenant_id: UUID) -> AsyncIterator[Connection]:
        """A transaction that sees and writes the rows of `tenant_id` alone.

        Raises `UnavailableError` when the database cannot be reached; nothing was committed then, unless
        the connection broke during the commit itself.
        """
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
                await self.become(connection, tenant_id)
                yield connection

    @asynccontextmanager
    async def worker_transaction(self) -> AsyncIterator[Connection]:
        """A transaction as the service's worker role, which crosses tenants where a policy names it."""
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
                await connection.execute("SELECT set_config('role', $1, true)", self.worker_role)
                yield connection

    @staticmethod
    async def become(connection: Connection, tenant_id: UUID) -> None:
        """Let a tenant's transaction go on as that of `tenant_id`: for work that makes a tenant."""
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant_id))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, for LISTEN and for ending other sessions."""
        with translated():
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                yield connection

    async def check(self) -> None:
        """Raise `UnavailableError` when the database does not answer."""
        with translated():
            async with asyncio.timeout(2), self._pool.acquire(timeout=2) as connection:
                await connection.execute("SELECT 1")


@asynccontextmanager
async def connect_pool(settings: PostgresSettings, service: str) -> AsyncIterator[Database]:
    """Connect as the role of `service`; its schema is the only one on the search path.

    Raises as `connecting` does.
    """
    with connecting("DATABASE_URL"):
        pool = await asyncpg.create_pool(
            settings.database_url.get_secret_value(),
            ssl=tls_context(settings),
            min_size=1,
            max_size=settings.database_pool_size,
            command_timeout=STATEMENT_SECONDS,
            timeout=ACQUIRE_SECONDS,
            # All settings are local to a transaction: there is nothing to reset, and it saves a round trip.
            reset=_nothing_to_reset,
            server_settings={
                "search_path": service,
                "application_name": f"quarry-{service}",
                # Compiling a query over many partitions takes seconds, running it milliseconds.
                "jit": "off",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS * 1000:.0f}",
            },
        )
    try:
        yield Database(pool, service)
    finally:
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def stream(
    connection: Connection, statement: str, *arguments: object, at_a_time: int
) -> AsyncIterator[asyncpg.Record]:
    """Yield the rows of a statement, of which so many are fetched at a time; in a transaction.

    To iterate over a cursor does that as well, but then each row is a span of the trace, and that costs more
    than the row.
    """
    cursor = await connection.cursor(statement, *arguments)
    while found := await cursor.fetch(at_a_time):
        for row in found:
            yield row


async def _nothing_to_reset(_connection: object) -> None:
    return None
