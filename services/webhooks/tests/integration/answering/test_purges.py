from services.webhooks.tests.integration.answering.conftest import Connection, Tenant, delivery

from quarry_common.contracts.purging import Purged, PurgeTenant
from quarry_common.contracts.webhooks import PURGE_WEBHOOKS
from quarry_webhooks.repository.purges import TABLES


async def fill(tenant: Tenant, admin: Connection) -> None:
    endpoint = await tenant.endpoint(limit=1, key="filled")
    made = await delivery(admin, endpoint, tenant, "failed")
    await admin.execute(
        """
        INSERT INTO attempts VALUES ($1, 1, $2, now(), 1, 'refused', 500, '', '', '{}', '{}', '')
        """,
        made,
        tenant.id,
    )
    await admin.execute("INSERT INTO hours VALUES ($1, now(), $2, 1, 1)", endpoint.id, tenant.id)
    await admin.execute("INSERT INTO latencies VALUES ($1, now(), 1, $2, 1)", endpoint.id, tenant.id)
    await admin.execute(
        """
        INSERT INTO replays (id, tenant_id, endpoint_id, kind, state, since, until, event_types)
        VALUES (gen_random_uuid(), $1, $2, 'replay', 'succeeded', now(), now(), '{}')
        """,
        tenant.id,
        endpoint.id,
    )


async def rows(tenant: Tenant, admin: Connection) -> dict[str, int]:
    return {
        table: await admin.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", tenant.id)
        for table in TABLES
    }


async def purge(tenant: Tenant) -> Purged:
    return await tenant.rpc.call(PURGE_WEBHOOKS, PurgeTenant(tenant.id, 5.0), timeout_seconds=15)


async def test_nothing_is_left_of_a_purged_tenant_and_everything_of_the_others(
    tenant: Tenant, stranger: Tenant, admin: Connection
) -> None:
    for each in (tenant, stranger):
        await fill(each, admin)
    before = await rows(stranger, admin)
    assert all((await rows(tenant, admin)).values())

    done = await purge(tenant)

    assert set((await rows(tenant, admin)).values()) == {0}
    assert await rows(stranger, admin) == before
    assert done.left == {f"postgres.webhooks.{table}": 0 for table in TABLES}
    assert done.removed == {f"postgres.webhooks.{table}": count for table, count in before.items() if count}


async def test_a_purge_may_be_repeated(tenant: Tenant, admin: Connection) -> None:
    await fill(tenant, admin)
    await purge(tenant)

    assert (await purge(tenant)).removed == {}


async def test_the_purge_knows_every_table_with_tenants(admin: Connection) -> None:
    found = await admin.fetch(
        """
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = 'webhooks' AND column_name = 'tenant_id'
        """
    )

    assert {row["table_name"] for row in found} == set(TABLES)
