"""The counts of an installation that had documents before there were any."""

import asyncpg

from quarry_common.ids import new_id
from quarry_common.messaging import outbox
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import Migration, migrate, read
from quarry_indexer.service import definition
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

COUNTS = "usage"
"""The step that makes them."""


def steps() -> tuple[list[Migration], list[Migration]]:
    folders = [outbox.MIGRATIONS, idempotency.MIGRATIONS]
    assert definition.migrations is not None
    found = read([definition.migrations, *folders], "indexer")
    place = next(place for place, step in enumerate(found) if step.name == COUNTS)
    return [step for step in found if step.number < found[place].number or step.number >= 10], [found[place]]


async def test_documents_that_are_there_are_counted_also_by_an_owner_who_is_no_superuser(
    postgres_admin_dsn: str,
) -> None:
    dsn = create_database(postgres_admin_dsn)
    root = await asyncpg.connect(dsn)
    owner = f"owner_{new_id().hex}"
    await root.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'test'")
    await root.execute(f'GRANT CREATE ON DATABASE "{dsn.rpartition("/")[2].partition("?")[0]}" TO {owner}')
    for role in ("quarry_indexer", "quarry_indexer_worker"):
        if await root.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
            await root.execute(f"GRANT {role} TO {owner} WITH ADMIN OPTION")
    before, counting = steps()
    admin = await asyncpg.connect(with_login(dsn, owner, "test"))
    await migrate(admin, "indexer", before, "")
    tenants = [new_id(), new_id()]
    for tenant_id, versions in zip(
        tenants, ({1: "active", 2: "failed", 3: "discarded"}, {1: "pending"}), strict=True
    ):
        for deleted in (False, True):
            document_id = new_id()
            await root.execute(
                """
                INSERT INTO indexer.documents (id, tenant_id, collection, latest_version, deleted_at)
                VALUES ($1, $2, 'default', $3, CASE WHEN $4 THEN now() END)
                """,
                document_id, tenant_id, len(versions), deleted,
            )  # fmt: skip
            for version, state in versions.items():
                await root.execute(
                    """
                    INSERT INTO indexer.versions (document_id, version, tenant_id, state, title, tags,
                        metadata, file_name, declared_type, size_bytes, fingerprint)
                    VALUES ($1, $2, $3, $4, '', '{}', '{}', '', '', $2 * 10, '')
                    """,
                    document_id, version, tenant_id, "discarded" if deleted else state,
                )  # fmt: skip

    await migrate(admin, "indexer", counting, "")

    found = await root.fetch(
        "SELECT tenant_id, documents, storage_bytes, recounted_at < now() AS due FROM indexer.tenant_counts"
    )
    assert {row["tenant_id"]: tuple(row)[1:] for row in found} == {
        tenants[0]: (1, 20, True),
        tenants[1]: (1, 10, True),
    }
    open_to_owner = await root.fetchval(
        """
        SELECT count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE relnamespace = 'indexer'::regnamespace AND relkind = 'r' AND NOT relforcerowsecurity
        """
    )
    assert open_to_owner == 0
    await admin.close()
    await root.close()
