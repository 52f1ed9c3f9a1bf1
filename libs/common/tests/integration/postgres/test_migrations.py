import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from quarry_common.messaging import outbox
from quarry_common.postgres.migrations import Migration, MigrationError, migrate, read
from quarry_local.testing import create_database

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
TABLE = Migration(1, "table", "CREATE TABLE things (id int)")
COLUMN = Migration(2, "column", "ALTER TABLE things ADD COLUMN name text")


@pytest.fixture
async def admin(postgres_admin_dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(create_database(postgres_admin_dsn, "steps"))
    try:
        yield connection
    finally:
        await connection.close()


async def test_steps_run_once_and_in_order(admin: Connection) -> None:
    assert await migrate(admin, "steps", [TABLE, COLUMN], "pw") == [TABLE, COLUMN]
    assert await migrate(admin, "steps", [TABLE, COLUMN], "pw") == []

    rows = await admin.fetch("SELECT number, name FROM steps.migrations ORDER BY applied_at, number")
    assert [tuple(row) for row in rows] == [(1, "table"), (2, "column")]


async def test_a_new_step_runs_after_the_old(admin: Connection) -> None:
    await migrate(admin, "steps", [TABLE], "pw")

    assert await migrate(admin, "steps", [TABLE, COLUMN], "pw") == [COLUMN]


async def test_a_step_that_was_changed_is_refused(admin: Connection) -> None:
    await migrate(admin, "steps", [TABLE], "pw")

    with pytest.raises(MigrationError, match="001_table has been changed"):
        await migrate(admin, "steps", [Migration(1, "table", "CREATE TABLE things (id bigint)")], "pw")


async def test_a_failed_step_leaves_nothing_and_can_be_mended(admin: Connection) -> None:
    broken = Migration(2, "broken", "ALTER TABLE things ADD COLUMN name text; SELECT 1 / 0")

    with pytest.raises(MigrationError, match="002_broken: division by zero"):
        await migrate(admin, "steps", [TABLE, broken], "pw")

    assert (
        await admin.fetchval(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'steps.things'::regclass AND attname = 'name'"
        )
        is None
    )
    assert await migrate(admin, "steps", [TABLE, COLUMN], "pw") == [COLUMN]


async def test_several_that_migrate_at_once_do_it_once(admin: Connection, postgres_admin_dsn: str) -> None:
    dsn = create_database(postgres_admin_dsn, "steps")

    async def run() -> list[Migration]:
        connection = await asyncpg.connect(dsn)
        try:
            return await migrate(connection, "steps", [TABLE, COLUMN], "pw")
        finally:
            await connection.close()

    ran = await asyncio.gather(*(run() for _ in range(5)))

    assert sorted(ran, key=len) == [[], [], [], [], [TABLE, COLUMN]]


async def test_a_password_with_quotes_is_no_harm(admin: Connection) -> None:
    await migrate(admin, "steps", [TABLE], "a'b\"c\\d; DROP SCHEMA steps")

    assert await admin.fetchval("SELECT to_regclass('steps.things') IS NOT NULL")


def test_files_are_read_by_number_and_carry_the_services_name(tmp_path: Path) -> None:
    (tmp_path / "002_two.sql").write_text("SELECT 2")
    (tmp_path / "001_one.sql").write_text("SELECT '${service}'")
    (tmp_path / "README.md").write_text("no step")

    assert read([tmp_path], "probe") == [
        Migration(1, "one", "SELECT 'probe'"),
        Migration(2, "two", "SELECT 2"),
    ]
    assert [step.number for step in read([outbox.MIGRATIONS, tmp_path], "probe")] == [0, 1, 2]


def test_two_steps_of_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "001_one.sql").write_text("SELECT 1")
    (tmp_path / "001_uno.sql").write_text("SELECT 1")

    with pytest.raises(MigrationError, match="two migrations numbered 001"):
        read([tmp_path], "probe")
