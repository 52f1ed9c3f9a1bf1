"""What is made under an idempotency key is made once."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from quarry_common.contracts.api_keys import CREATE_KEY, LIST_KEYS, CreateKey, Grant, ListKeys
from quarry_common.contracts.tenancy import CREATE_TENANT, TENANT_SCOPES, CreateTenant, Scope, Tenant
from quarry_common.errors import RemoteError
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres.pool import connect_pool
from quarry_tenants.housekeeping import Housekeeping
from quarry_tenants.settings import TenantsSettings

from .conftest import Tenancy


def asks_for_key(tenant: Tenant, key: str | None, *scopes: Scope, name: str = "shop") -> CreateKey:
    return CreateKey(
        tenant.id,
        name,
        Grant(frozenset(scopes or {Scope.SEARCH})),
        Grant(TENANT_SCOPES),
        idempotency_key=key,
    )


async def test_a_repeated_request_gives_the_same_key_and_makes_one(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    request = asks_for_key(tenant, "first")

    made = [await rpc.call(CREATE_KEY, request) for _ in range(3)]

    assert made[0] == made[1] == made[2]
    assert [key.id for key in (await rpc.call(LIST_KEYS, ListKeys(tenant.id))).keys] == [made[0].api_key.id]


async def test_without_an_idempotency_key_each_request_makes_one(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    made = [await rpc.call(CREATE_KEY, asks_for_key(tenant, None)) for _ in range(2)]

    assert made[0].key != made[1].key


async def test_of_many_at_once_one_is_made(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    made = await asyncio.gather(*(rpc.call(CREATE_KEY, asks_for_key(tenant, "race")) for _ in range(10)))

    assert len({each.key for each in made}) == 1


async def test_the_same_idempotency_key_with_another_request_is_refused(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()
    first = asks_for_key(tenant, "one")
    await rpc.call(CREATE_KEY, first)

    for other in (
        asks_for_key(tenant, "one", name="another"),
        asks_for_key(tenant, "one", Scope.SEARCH, Scope.KEYS_READ),
        msgspec.structs.replace(first, maker=Grant(frozenset({Scope.SEARCH}))),
        msgspec.structs.replace(
            first, grant=Grant(first.grant.scopes, expires_at=datetime.now(UTC) + timedelta(days=1))
        ),
    ):
        with pytest.raises(RemoteError) as caught:
            await rpc.call(CREATE_KEY, other)
        assert (caught.value.data.code, caught.value.data.status) == ("idempotency_key_reused", 422)


async def test_an_idempotency_key_belongs_to_its_tenant(rpc: RpcClient, tenancy: Tenancy) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()

    first = await rpc.call(CREATE_KEY, asks_for_key(mine, "shared"))
    second = await rpc.call(CREATE_KEY, asks_for_key(theirs, "shared"))

    assert first.key != second.key


async def test_the_text_of_a_key_is_nowhere_in_the_database(
    rpc: RpcClient, tenancy: Tenancy, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant = await tenancy.tenant()
    made = await rpc.call(CREATE_KEY, asks_for_key(tenant, "sealed"))

    replies = await admin.fetch(
        "SELECT reply, key_digest FROM idempotency_keys WHERE tenant_id = $1", tenant.id
    )

    assert len(replies) == 1
    for secret in (made.key, made.key[12:30], "sealed"):
        assert secret.encode() not in replies[0]["reply"] + replies[0]["key_digest"]


async def test_a_repeated_request_gives_the_same_tenant(
    rpc: RpcClient, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    request = CreateTenant("idempotent", "Once", idempotency_key="tenant-1")

    first, second = await rpc.call(CREATE_TENANT, request), await rpc.call(CREATE_TENANT, request)

    assert first == second
    bodies = await admin.fetch("SELECT convert_from(body, 'UTF8') AS body FROM outbox")
    assert sum("tenant.created" in row["body"] and str(first.id) in row["body"] for row in bodies) == 1
    with pytest.raises(RemoteError) as caught:
        await rpc.call(CREATE_TENANT, CreateTenant("idempotent-2", "Twice", idempotency_key="tenant-1"))
    assert caught.value.data.code == "idempotency_key_reused"


async def test_a_refused_request_leaves_its_idempotency_key_free(rpc: RpcClient) -> None:
    await rpc.call(CREATE_TENANT, CreateTenant("was-taken", "First"))

    for slug, made in (("was-taken", False), ("was-free", True)):
        request = CreateTenant(slug, "Second", idempotency_key="tenant-2")
        if made:
            assert (await rpc.call(CREATE_TENANT, request)).slug == slug
        else:
            with pytest.raises(RemoteError, match="is taken"):
                await rpc.call(CREATE_TENANT, request)


async def test_a_key_made_under_an_idempotency_key_counts_once(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    for _ in range(45):
        await rpc.call(CREATE_KEY, asks_for_key(tenant, "counted"))

    assert len((await rpc.call(LIST_KEYS, ListKeys(tenant.id))).keys) == 1


async def test_idempotency_keys_are_forgotten_after_a_day(
    rpc: RpcClient,
    tenancy: Tenancy,
    settings: TenantsSettings,
    admin: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    tenant = await tenancy.tenant()
    for key in ("old", "new"):
        await rpc.call(CREATE_KEY, asks_for_key(tenant, key))
    count = "SELECT count(*) FROM idempotency_keys WHERE tenant_id = $1"
    await admin.execute(
        """
        UPDATE idempotency_keys SET created_at = now() - interval '25 hours'
        WHERE ctid = (SELECT min(ctid) FROM idempotency_keys WHERE tenant_id = $1)
        """,
        tenant.id,
    )
    stopping = asyncio.Event()

    async with connect_pool(settings, "tenants") as database, asyncio.timeout(10):
        keeping = asyncio.create_task(Housekeeping(database, every_seconds=0.01).run(stopping))
        while await admin.fetchval(count, tenant.id) != 1:
            await asyncio.sleep(0.01)
        stopping.set()
        await keeping
