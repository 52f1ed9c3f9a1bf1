"""Migrations: numbered plain SQL, one schema and two roles per service.

The role that migrates owns everything. The service's own role `quarry_<service>` owns nothing, is bound by
row-level security and may become `quarry_<service>_worker`, to which policies give the few rows that have to
be seen across tenants.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources.abc import Traversable

import asyncpg
import msgspec

from quarry_common.errors import QuarryError

_NAME = re.compile(r"^(\d{3})_([a-z0-9_]+)\.sql$")
_LOCK = 0x51554152  # one migration at a time in a database


class MigrationError(QuarryError):
    """The schema cannot be brought to what this version needs."""

    code = "migration_failed"
    title = "The database could not be migrated"
    advice = (
        "Nothing of the failed step was kept. Read the cause above, mend it, and run `quarry migrate` again."
    )


class Migration(msgspec.Struct, frozen=True):
    """One numbered step of a schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, so that a step that was changed after it ran is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read(folders: Sequence[Traversable], service: str) -> list[Migration]:
    """Return the steps in `folders` in order; `${service}` in their SQL stands for the service's name."""
    found: dict[int, Migration] = {}
    for entry in (entry for folder in folders for entry in folder.iterdir()):
        match = _NAME.match(entry.name)
        if not match:
            continue
        number = int(match[1])
        if number in found:
            raise MigrationError(f"{service} has two migrations numbered {number:03}.")
        sql = entry.read_text(encoding="utf-8").replace("${service}", service)
        found[number] = Migration(number, match[2], sql)
    return [found[number] for number in sorted(found)]


async def migrate(
    admin: "asyncpg.Connection[asyncpg.Record]", service: str, steps: Sequence[Migration], password: str
) -> list[Migration]:
    """Bring the schema of `service` up to date and return the steps that were run.

    Each step is one transaction. Raises `MigrationError` when a step fails, or when one that ran long ago
    is no longer what it was.
    """
    await admin.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await _prepare(admin, service, password)
        done = {
            row["number"]: row["checksum"]
            for row in await admin.fetch(f"SELECT number, checksum FROM {service}.migrations")  # noqa: S608
        }
        ran = []
        for step in steps:
            if step.number not in done:
                await _run(admin, service, step)
                ran.append(step)
            elif done[step.number] != step.checksum:
                raise MigrationError(
                    f"{service} {step.number:03}_{step.name} has been changed since it ran here."
                )
        return ran
    finally:
        await admin.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _prepare(admin: "asyncpg.Connection[asyncpg.Record]", service: str, password: str) -> None:
    role, worker = f"quarry_{service}", f"quarry_{service}_worker"
    for name, kind in ((worker, "NOLOGIN"), (role, "LOGIN NOINHERIT")):
        exists = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name)
        if not exists:
            await admin.execute(f"CREATE ROLE {name} {kind} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
    if password:
        statement = await admin.fetchval(
            "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", role, password
        )
        await admin.execute(statement)
    await admin.execute(
        f"""
        GRANT {worker} TO {role};
        CREATE SCHEMA IF NOT EXISTS {service};
        GRANT USAGE ON SCHEMA {service} TO {role}, {worker};
        ALTER DEFAULT PRIVILEGES IN SCHEMA {service}
            GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
        CREATE TABLE IF NOT EXISTS {service}.migrations (
            number integer PRIMARY KEY,
            name text NOT NULL,
            checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
        REVOKE INSERT, UPDATE, DELETE ON {service}.migrations FROM {role};
        """
    )


async def _run(admin: "asyncpg.Connection[asyncpg.Record]", service: str, step: Migration) -> None:
    try:
        async with admin.transaction():
            await admin.execute(f"SET LOCAL search_path = {service}")
            await admin.execute(step.sql)
            await admin.execute(
                f"INSERT INTO {service}.migrations (number, name, checksum) VALUES ($1, $2, $3)",  # noqa: S608
                step.number,
                step.name,
                step.checksum,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{service} {step.number:03}_{step.name}: {error}") from error
