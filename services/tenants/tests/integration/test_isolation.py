from typing import TypeAlias

import asyncpg
import pytest

from .conftest import Tenancy

COUNTED_TABLES = {"audit_entries", "audit_heads", "key_days", "search_days"}
PURGED_TABLES = COUNTED_TABLES | {"api_keys", "domains", "signing_keys"}
TENANT_TABLES = PURGED_TABLES | {"organizations", "receipts", "purges", "outbox", "idempotency_keys"}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def test_without_a_tenant_the_service_sees_nothing(tenancy: Tenancy, as_service: Connection) -> None:
    tenant = await tenancy.tenant()
    await tenancy.key(tenant.id)

    for table in ("organizations", "api_keys", "outbox"):
        assert await as_service.fetch(f"SELECT * FROM {table}") == []


async def test_a_query_without_where_finds_the_tenants_own_rows_alone(
    tenancy: Tenancy, as_service: Connection
) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()
    own = await tenancy.key(mine.id)
    await tenancy.key(theirs.id)

    async with as_service.transaction():
        await as_service.execute("SELECT set_config('app.tenant_id', $1, true)", str(mine.id))
        found_keys = await as_service.fetch("SELECT id FROM api_keys")
        found_tenants = await as_service.fetch("SELECT id FROM organizations")
        found_messages = await as_service.fetch("SELECT DISTINCT tenant_id FROM outbox")

    assert [row["id"] for row in found_keys] == [own.api_key.id]
    assert [row["id"] for row in found_tenants] == [mine.id]
    assert [row["tenant_id"] for row in found_messages] == [mine.id]


async def test_nothing_can_be_written_for_another_tenant(tenancy: Tenancy, as_service: Connection) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()
    await tenancy.key(theirs.id)

    transaction = as_service.transaction()
    await transaction.start()
    await as_service.execute("SELECT set_config('app.tenant_id', $1, true)", str(mine.id))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await as_service.execute(
            """
            INSERT INTO api_keys (id, tenant_id, key_sha256, prefix, label, name, scopes, metadata)
            VALUES (gen_random_uuid(), $1, sha256('x'), 'qk', 'live', 'stolen', '{search}', '{}')
            """,
            theirs.id,
        )
    await transaction.rollback()
    async with as_service.transaction():
        await as_service.execute("SELECT set_config('app.tenant_id', $1, true)", str(mine.id))
        assert await as_service.execute("UPDATE api_keys SET revoked_at = now()") == "UPDATE 0"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM operator_keys",
        "DELETE FROM api_keys",
        "DELETE FROM organizations",
        "UPDATE api_keys SET tenant_id = gen_random_uuid()",
        "UPDATE api_keys SET scopes = '{search}'",
        "UPDATE audit_entries SET target = 'another'",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_heads",
        "DELETE FROM purges",
        "DELETE FROM signing_keys",
        "UPDATE signing_keys SET public_key = sha256('mine')",
        "UPDATE domains SET token = 'mine'",
        "UPDATE domains SET name = 'theirs.example'",
        "ALTER TABLE api_keys NO FORCE ROW LEVEL SECURITY",
        "CREATE TABLE mine (id int)",
        "DELETE FROM migrations",
    ],
)
async def test_the_service_may_not(as_service: Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_service.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM api_keys",
        "SELECT name, metadata FROM api_keys",
        "UPDATE api_keys SET revoked_at = now()",
        "UPDATE organizations SET state = 'disabled'",
        "INSERT INTO organizations (id, slug, name, plan) VALUES (gen_random_uuid(), 'w', 'w', 'standard')",
        "UPDATE audit_entries SET target = 'another'",
        "UPDATE domains SET state = 'verified'",
        "UPDATE signing_keys SET public_key = sha256('mine')",
        "UPDATE search_days SET answered = 0",
        "UPDATE purges SET finished_at = now()",
        "DELETE FROM operator_keys",
        "UPDATE operator_keys SET key_sha256 = sha256('mine')",
    ],
)
async def test_the_worker_may_not(as_service: Connection, statement: str) -> None:
    async with as_service.transaction():
        await as_service.execute("SET LOCAL ROLE quarry_tenants_worker")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_service.execute(statement)


async def test_every_table_with_tenants_forces_row_level_security(admin: Connection) -> None:
    rows = await admin.fetch(
        """
        SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
               pg_get_userbyid(c.relowner) AS owner,
               EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
                   OR c.relname = 'organizations' AS has_tenant
        FROM pg_class c WHERE c.relnamespace = 'tenants'::regnamespace AND c.relkind IN ('r', 'p')
        """
    )

    tenant_tables = {row["name"] for row in rows if row["has_tenant"]}
    assert tenant_tables == TENANT_TABLES
    assert all(row["enabled"] and row["forced"] for row in rows if row["has_tenant"])
    assert not [row for row in rows if row["owner"].startswith("quarry_")]


async def test_every_table_with_tenants_has_the_tenants_policy(admin: Connection) -> None:
    rows = await admin.fetch(
        "SELECT tablename, roles, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'tenants'"
    )

    ours = {row["tablename"]: row for row in rows if row["roles"] == ["quarry_tenants"]}
    assert ours.keys() == TENANT_TABLES
    for row in ours.values():
        assert row["cmd"] == "ALL"
        assert "NULLIF(current_setting('app.tenant_id'::text, true), ''::text)" in row["qual"]
        assert row["qual"] == row["with_check"]
    crossing = [
        (row["tablename"], row["cmd"], "purging(tenant_id)" in row["qual"])
        for row in rows
        if row["roles"] == ["quarry_tenants_worker"]
    ]
    assert sorted(crossing) == sorted(
        [
            *((name, "SELECT", False) for name in ("organizations", "api_keys", "domains", "signing_keys")),
            *((name, "ALL", False) for name in ("outbox", "idempotency_keys", "receipts")),
            ("purges", "SELECT", False),
            ("purges", "UPDATE", True),
            *(("search_days", what, False) for what in ("SELECT", "UPDATE")),
            *((name, "DELETE", True) for name in PURGED_TABLES),
            *((name, "SELECT", True) for name in COUNTED_TABLES),
        ]
    )
    assert len(rows) == len(ours) + len(crossing)


async def test_the_worker_removes_rows_of_tenants_that_are_being_purged_and_of_no_others(
    as_service: Connection, admin: Connection, tenancy: Tenancy
) -> None:
    kept, going = await tenancy.tenant(), await tenancy.tenant()
    for tenant in (kept, going):
        await tenancy.key(tenant.id)
    await admin.execute("UPDATE organizations SET state = 'purging' WHERE id = $1", going.id)

    async with as_service.transaction():
        await as_service.execute("SET LOCAL ROLE quarry_tenants_worker")
        for tenant in (kept, going):
            await as_service.execute("DELETE FROM api_keys WHERE tenant_id = $1", tenant.id)
            await as_service.execute("DELETE FROM audit_entries WHERE tenant_id = $1", tenant.id)

    for table in ("api_keys", "audit_entries"):
        left = await admin.fetch(
            f"SELECT tenant_id FROM {table} WHERE tenant_id = ANY ($1)", [kept.id, going.id]
        )
        assert {row["tenant_id"] for row in left} == {kept.id}


async def test_neither_role_goes_round_row_level_security(admin: Connection) -> None:
    rows = await admin.fetch(
        """
        SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit
        FROM pg_roles WHERE rolname IN ('quarry_tenants', 'quarry_tenants_worker')
        """
    )
    owned = await admin.fetchval(
        """
        SELECT count(*) FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
        WHERE d.deptype = 'o' AND r.rolname LIKE 'quarry\\_tenants%'
        """
    )

    assert len(rows) == 2
    assert not [row for row in rows if row["rolsuper"] or row["rolbypassrls"]]
    assert not [row for row in rows if row["rolcreaterole"] or row["rolcreatedb"]]
    assert not next(row["rolinherit"] for row in rows if row["rolname"] == "quarry_tenants")
    assert owned == 0
