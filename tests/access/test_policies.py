"""Isolation in the database itself: every schema of a running platform is looked at, whatever it holds."""

import re
from pathlib import Path

from tests.platform import Platform

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


async def test_every_table_with_a_tenant_forces_row_level_security(platform: Platform) -> None:
    async with platform.database() as database:
        tables = await database.fetch(
            """
            SELECT c.oid::regclass::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced
            FROM pg_class c
            WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND EXISTS (
                SELECT 1 FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
            )
            """
        )

    assert len(tables) > 10
    assert [table["name"] for table in tables if not table["forced"]] == []


async def test_every_such_table_shows_a_service_its_own_tenants_rows_alone(platform: Platform) -> None:
    async with platform.database() as database:
        rows = await database.fetch(
            """
            SELECT c.oid::regclass::text AS name,
                   (SELECT array_agg(p.qual || ' / ' || p.with_check) FROM pg_policies p
                    WHERE p.schemaname = n.nspname AND p.tablename = c.relname
                        AND p.roles = ARRAY[('quarry_' || n.nspname)::name]) AS policies
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
            """
        )

    own = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
    assert {row["name"]: row["policies"] for row in rows} == {row["name"]: [f"{own} / {own}"] for row in rows}


async def test_policies_that_cross_tenants_are_those_that_the_architecture_names(platform: Platform) -> None:
    async with platform.database() as database:
        rows = await database.fetch(
            """
            SELECT schemaname AS schema, tablename AS table, policyname AS policy, cmd, roles::text[] AS roles
            FROM pg_policies WHERE policyname <> 'tenant'
            """
        )
    written = re.findall(r"^\| `(\w+)\.(\w+)` \| `(\w+)` \| (\w+) \|", ARCHITECTURE.read_text(), re.MULTILINE)

    assert all(row["roles"] == [f"quarry_{row['schema']}_worker"] for row in rows)
    assert sorted((row["schema"], row["table"], row["policy"], row["cmd"]) for row in rows) == sorted(written)


async def test_no_role_of_a_service_owns_anything_or_goes_round_the_policies(platform: Platform) -> None:
    async with platform.database() as database:
        roles = await database.fetch(
            """
            SELECT rolname,
                   rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication AS mighty,
                   (SELECT count(*) FROM pg_shdepend d LEFT JOIN pg_class c ON c.oid = d.objid
                    WHERE d.refobjid = r.oid AND d.deptype = 'o'
                        AND c.relpersistence IS DISTINCT FROM 't' AND c.relkind IS DISTINCT FROM 't') AS owned
            FROM pg_roles r WHERE rolname LIKE 'quarry\\_%'
            """
        )

    assert len(roles) >= 4
    assert [role["rolname"] for role in roles if role["mighty"] or role["owned"]] == []
