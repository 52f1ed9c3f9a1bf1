"""Idempotency keys on a real database: done once, told again, refused for other requests."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from quarry_common.errors import IdempotencyKeyInFlightError, IdempotencyKeyReusedError
from quarry_common.ids import new_id
from quarry_common.postgres import idempotency
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database

REQUEST = fingerprint("probe", 1)


class Reply(msgspec.Struct, frozen=True):
    """What the work answers."""

    secret: str


class Work:
    """Counts how often it was done, in the database and here."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.done = 0

    async def __call__(self, connection: Connection) -> Reply:
        self.done += 1
        await connection.execute(
            "INSERT INTO notes (id, tenant_id, text) VALUES ($1, $2, 'x')", new_id().int >> 65, self.tenant_id
        )
        return Reply(f"secret-{self.done}")


async def notes(database: Database, tenant_id: UUID) -> int:
    async with database.tenant_transaction(tenant_id) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM notes"))


async def test_a_repeated_request_gets_the_first_answer(database: Database) -> None:
    work = Work(new_id())

    first = await once(database, work.tenant_id, "key", REQUEST, Reply, work)
    second = await once(database, work.tenant_id, "key", REQUEST, Reply, work)

    assert first == (Reply("secret-1"), True)
    assert second == (Reply("secret-1"), False)
    assert await notes(database, work.tenant_id) == 1


async def test_fifty_at_once_do_the_work_once(database: Database) -> None:
    work = Work(new_id())

    found = await asyncio.gather(
        *(once(database, work.tenant_id, "key", REQUEST, Reply, work) for _ in range(50))
    )

    assert {reply for reply, _ in found} == {Reply("secret-1")}
    assert [new for _, new in found].count(True) == 1
    assert await notes(database, work.tenant_id) == 1


async def test_another_request_under_the_key_is_refused(database: Database) -> None:
    work = Work(new_id())
    await once(database, work.tenant_id, "key", REQUEST, Reply, work)

    with pytest.raises(IdempotencyKeyReusedError):
        await once(database, work.tenant_id, "key", fingerprint("probe", 2), Reply, work)


async def test_a_key_belongs_to_its_tenant(database: Database) -> None:
    one, other = Work(new_id()), Work(new_id())
    await once(database, one.tenant_id, "key", REQUEST, Reply, one)

    assert (await once(database, other.tenant_id, "key", REQUEST, Reply, other))[1]


async def test_failed_work_leaves_the_key_free(database: Database) -> None:
    work = Work(new_id())

    async def fails(connection: Connection) -> Reply:
        await work(connection)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await once(database, work.tenant_id, "key", REQUEST, Reply, fails)
    assert (await once(database, work.tenant_id, "key", REQUEST, Reply, work))[1]
    assert await notes(database, work.tenant_id) == 1


async def test_who_waits_too_long_for_the_first_is_told_to_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.1)
    work, begun, end = Work(new_id()), asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> Reply:
        begun.set()
        await end.wait()
        return await work(connection)

    first = asyncio.create_task(once(database, work.tenant_id, "key", REQUEST, Reply, slow))
    await begun.wait()
    with pytest.raises(IdempotencyKeyInFlightError):
        await once(database, work.tenant_id, "key", REQUEST, Reply, work)
    end.set()

    assert (await first)[1]


async def test_neither_key_nor_answer_is_stored_in_the_clear(database: Database) -> None:
    work = Work(new_id())
    await once(database, work.tenant_id, "a-very-special-key", REQUEST, Reply, work)

    async with database.tenant_transaction(work.tenant_id) as connection:
        row = await connection.fetchrow("SELECT * FROM idempotency_keys")

    assert row is not None
    assert "a-very-special-key" not in str(row)
    assert "secret-1" not in str(row)


async def test_keys_expire_after_a_day(database: Database) -> None:
    work = Work(new_id())
    await once(database, work.tenant_id, "key", REQUEST, Reply, work)
    async with database.tenant_transaction(work.tenant_id) as connection:
        await connection.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")

    assert (await once(database, work.tenant_id, "key", REQUEST, Reply, work))[1]
    async with database.tenant_transaction(work.tenant_id) as connection:
        await connection.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    async with database.worker_transaction() as connection:
        await idempotency.expire(connection)

    async with database.tenant_transaction(work.tenant_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == 0
