import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database, connect_pool, stream
from quarry_common.settings import PostgresSettings, load
from quarry_local.servers.postgres import with_login


async def add_note(database: Database, number: int) -> str:
    tenant_id = new_id()
    async with database.tenant_transaction(tenant_id) as connection:
        await connection.execute("INSERT INTO notes VALUES ($1, $2, 'text')", number, tenant_id)
    return str(tenant_id)


async def test_a_tenant_sees_its_own_rows_alone(database: Database) -> None:
    mine, theirs = new_id(), new_id()
    for number, tenant_id in enumerate((mine, theirs)):
        async with database.tenant_transaction(tenant_id) as connection:
            await connection.execute("INSERT INTO notes VALUES ($1, $2, 'text')", number, tenant_id)

    async with database.tenant_transaction(mine) as connection:
        found = await connection.fetch("SELECT tenant_id FROM notes")

    assert [row["tenant_id"] for row in found] == [mine]


async def test_the_tenant_is_forgotten_when_the_transaction_ends(database: Database) -> None:
    await add_note(database, 1)

    async with database.session() as connection:
        assert await connection.fetch("SELECT * FROM notes") == []
        assert await connection.fetchval("SELECT current_user") == "quarry_probe"


async def test_many_tenants_at_once_do_not_mix(database: Database) -> None:
    async def work(number: int) -> bool:
        tenant_id = new_id()
        async with database.tenant_transaction(tenant_id) as connection:
            await connection.execute("INSERT INTO notes VALUES ($1, $2, 'text')", number, tenant_id)
            await connection.execute("SELECT pg_sleep(0.001)")
            found = await connection.fetch("SELECT tenant_id FROM notes")
            return [row["tenant_id"] for row in found] == [tenant_id]

    assert all(await asyncio.gather(*(work(number) for number in range(100))))


async def test_the_worker_sees_what_its_policy_names_and_no_more(database: Database) -> None:
    await add_note(database, 1)
    await add_note(database, 2)

    async with database.worker_transaction() as connection:
        assert await connection.fetchval("SELECT count(id) FROM notes") == 2
    for statement in (
        "SELECT text FROM notes",
        "DELETE FROM notes",
        "INSERT INTO notes VALUES (3, gen_random_uuid(), '')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with _worker(database) as connection:
                await connection.execute(statement)


@asynccontextmanager
async def _worker(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with database.worker_transaction() as connection:
        yield connection


async def test_after_an_error_nothing_is_kept_and_the_connection_is_good(database: Database) -> None:
    tenant_id = new_id()

    async def attempt() -> None:
        async with database.tenant_transaction(tenant_id) as connection:
            await connection.execute("INSERT INTO notes VALUES (1, $1, 'text')", tenant_id)
            raise ZeroDivisionError

    for _ in range(30):  # more often than there are connections
        with pytest.raises(ZeroDivisionError):
            await attempt()

    async with database.tenant_transaction(tenant_id) as connection:
        assert await connection.fetch("SELECT * FROM notes") == []


async def test_a_cancelled_transaction_gives_its_connection_back(database: Database) -> None:
    async def wait() -> None:
        async with database.tenant_transaction(new_id()) as connection:
            await connection.execute("SELECT pg_sleep(60)")

    for _ in range(15):
        task = asyncio.create_task(wait())
        await asyncio.wait([task], timeout=0.02)
        task.cancel()
        await asyncio.wait([task], timeout=5)

    async with asyncio.timeout(5):
        await asyncio.gather(*(database.check() for _ in range(10)))


async def test_a_terminated_connection_is_an_error_to_retry_on(
    database: Database, probe_admin_dsn: str
) -> None:
    async def attempt() -> None:
        async with database.tenant_transaction(new_id()) as connection:
            own = await connection.fetchval("SELECT pg_backend_pid()")
            admin = await asyncpg.connect(probe_admin_dsn)
            await admin.execute("SELECT pg_terminate_backend($1)", own)
            await admin.close()
            await connection.fetch("SELECT 1")

    with pytest.raises(UnavailableError):
        await attempt()
    await database.check()


async def test_a_transaction_in_which_nothing_happens_ends_and_holds_nobody_up(
    database: Database, probe_admin_dsn: str
) -> None:
    async def stand_still() -> None:
        async with database.tenant_transaction(new_id()) as connection:
            assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "15s"
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '200ms'")
            own = await connection.fetchval("SELECT pg_backend_pid()")
            async with asyncio.timeout(10):
                while await admin.fetchval("SELECT 1 FROM pg_stat_activity WHERE pid = $1", own):
                    await asyncio.sleep(0.02)
            await connection.fetch("SELECT 1")

    admin = await asyncpg.connect(probe_admin_dsn)
    with pytest.raises(UnavailableError):
        await stand_still()
    await database.check()
    await admin.close()


async def test_a_schema_that_is_not_migrated_is_said_so(database: Database) -> None:
    async def attempt() -> None:
        async with database.tenant_transaction(new_id()) as connection:
            await connection.execute("SELECT * FROM not_there_yet")

    with pytest.raises(UnavailableError, match="not_there_yet") as caught:
        await attempt()
    assert "quarry migrate" in caught.value.data.advice


@pytest.mark.parametrize("dsn", ["postgresql://127.0.0.1:9/none", "postgresql://nobody.invalid/none"])
async def test_a_database_that_does_not_answer_is_said_so(dsn: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        async with connect_pool(load(PostgresSettings, {"DATABASE_URL": dsn}), "probe"):
            pass


@pytest.mark.parametrize("dsn", ["not a dsn", "postgresql://h:notaport/x", "mysql://127.0.0.1/x"])
async def test_an_address_that_is_none_is_said_so(dsn: str) -> None:
    with pytest.raises(QuarryError, match="DATABASE_URL"):
        async with connect_pool(load(PostgresSettings, {"DATABASE_URL": dsn}), "probe"):
            pass


async def test_a_wrong_password_is_said_so(probe_admin_dsn: str) -> None:
    dsn = with_login(probe_admin_dsn, "quarry_probe", "wrong")

    with pytest.raises(QuarryError, match="DATABASE_URL") as caught:
        async with connect_pool(load(PostgresSettings, {"DATABASE_URL": dsn}), "probe"):
            pass
    assert "wrong@" not in str(caught.value)


@contextmanager
def traced() -> Iterator[InMemorySpanExporter]:
    """Trace what is asked of Postgres."""
    spans, provider, instrumentor = InMemorySpanExporter(), TracerProvider(), AsyncPGInstrumentor()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield spans
    finally:
        instrumentor.uninstrument()


async def test_many_rows_are_few_spans_of_a_trace(database: Database) -> None:
    with traced() as spans:
        async with database.tenant_transaction(new_id()) as connection:
            asked = stream(connection, "SELECT generate_series(1, $1::int)", 250, at_a_time=100)
            found = [row[0] async for row in asked]

    assert found == list(range(1, 251))
    of_rows = [span for span in spans.get_finished_spans() if "generate_series" in str(span.attributes)]
    assert 1 <= len(of_rows) <= 4
