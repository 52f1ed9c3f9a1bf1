import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import ConsumerConfig, DeliverPolicy
from pydantic import SecretStr

from quarry_common import keys
from quarry_common.contracts.api_keys import RESOLVE_KEY, REVOKE_KEY, KeyLabel, ResolveKey, RevokeKey
from quarry_common.contracts.events import (
    ApiKeyCreated,
    ApiKeyRevoked,
    CloudEvent,
    EventData,
    TenantCreated,
    decode_data,
)
from quarry_common.contracts.purging import GET_RECEIPT, ReceiptOf
from quarry_common.contracts.tenancy import CREATE_TENANT, CreateTenant, Scope
from quarry_common.errors import RemoteError, UnavailableError
from quarry_common.messaging.rpc import RpcClient
from quarry_common.service import Service
from quarry_local.servers.postgres import with_database
from quarry_tenants.purging import Purging
from quarry_tenants.service import build
from quarry_tenants.settings import TenantsSettings

from .conftest import OPERATOR_KEY, Tenancy


@asynccontextmanager
async def events_of(bus: Client, tenant_id: object) -> AsyncIterator["asyncio.Queue[CloudEvent]"]:
    queue: asyncio.Queue[CloudEvent] = asyncio.Queue(100)

    async def receive(message: Msg) -> None:
        queue.put_nowait(msgspec.json.decode(message.data, type=CloudEvent))

    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    subscription = await bus.jetstream().subscribe(f"evt.v1.{tenant_id}.>", cb=receive, config=config)
    try:
        yield queue
    finally:
        await subscription.unsubscribe()


async def test_every_change_is_told_in_order(rpc: RpcClient, tenancy: Tenancy, bus: Client) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id, "told")
    await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, made.api_key.id))
    await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, made.api_key.id))
    # The second revocation changed nothing; this one is told after all that went before.
    last = await tenancy.key(tenant.id, "last")

    told: list[EventData] = []
    async with events_of(bus, tenant.id) as queue, asyncio.timeout(10):
        while len(told) < 4:
            event = await queue.get()
            assert (event.source, event.tenantid) == ("/quarry/tenants", str(tenant.id))
            told.append(decode_data(event))

    of_key = [data for data in told if data.subject_id == str(made.api_key.id)]
    assert of_key == [
        ApiKeyCreated(key_id=made.api_key.id, name="told", scopes=["search"]),
        ApiKeyRevoked(key_id=made.api_key.id, name="told"),
    ]
    assert TenantCreated(tenant_id=tenant.id, slug=tenant.slug, name=tenant.name) in told
    assert ApiKeyCreated(key_id=last.api_key.id, name="last", scopes=["search"]) in told


async def test_a_refused_change_tells_nothing(
    rpc: RpcClient, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await rpc.call(CREATE_TENANT, CreateTenant("told-once", "First"))

    with pytest.raises(RemoteError):
        await rpc.call(CREATE_TENANT, CreateTenant("told-once", "Second"))

    bodies = await admin.fetch("SELECT convert_from(body, 'UTF8') AS body FROM outbox")
    assert sum("told-once" in row["body"] for row in bodies) == 1


async def test_the_operators_key_may_do_everything_and_belongs_to_no_tenant(rpc: RpcClient) -> None:
    principal = await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(OPERATOR_KEY)))

    assert principal.tenant_id is None
    assert principal.tenant_slug is None
    assert principal.scopes == frozenset(Scope)


async def test_a_changed_operator_key_revokes_the_former(
    rpc: RpcClient, settings: TenantsSettings, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    other = keys.generate(KeyLabel.LIVE)
    changed = settings.model_copy(update={"operator_key": SecretStr(other)})

    async with build(changed):
        assert Scope.PLATFORM in (await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(other)))).scopes
        with pytest.raises(RemoteError, match="was revoked"):
            await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(OPERATOR_KEY)))
    async with build(settings):
        assert Scope.PLATFORM in (await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(OPERATOR_KEY)))).scopes

    usable = await admin.fetchval("SELECT count(*) FROM operator_keys WHERE revoked_at IS NULL")
    assert usable == 1


async def test_processes_that_start_together_leave_one_operator_key(
    settings: TenantsSettings, service: Service, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async def start(key: str) -> None:
        async with build(settings.model_copy(update={"operator_key": SecretStr(key)})):
            pass

    await asyncio.gather(*(start(keys.generate(KeyLabel.LIVE)) for _ in range(4)))
    usable = await admin.fetchval("SELECT count(*) FROM operator_keys WHERE revoked_at IS NULL")
    await start(OPERATOR_KEY)

    assert usable == 1


async def test_it_purges_and_answers_for_receipts(rpc: RpcClient, service: Service) -> None:
    assert [part for part in service.parts if isinstance(part, Purging)]
    with pytest.raises(RemoteError, match="is being purged, or was") as caught:
        await rpc.call(GET_RECEIPT, ReceiptOf("nobody"))
    assert caught.value.data.code == "not_found"


async def test_it_is_ready_when_database_and_bus_answer(service: Service) -> None:
    assert set(service.checks) == {"database", "message_bus"}
    for check in service.checks.values():
        await check()


async def test_it_does_not_start_without_a_database(
    settings: TenantsSettings, postgres_admin_dsn: str
) -> None:
    elsewhere = SecretStr("postgresql://nobody@127.0.0.1:9/none")

    with pytest.raises(UnavailableError, match="database cannot be reached"):
        async with build(settings.model_copy(update={"database_url": elsewhere})):
            pass


async def test_a_database_that_was_not_migrated_is_said_so(settings: TenantsSettings) -> None:
    empty = with_database(settings.database_url.get_secret_value(), "postgres")

    with pytest.raises(UnavailableError) as caught:
        async with build(settings.model_copy(update={"database_url": SecretStr(empty)})):
            pass
    assert "quarry migrate" in caught.value.data.advice


async def test_a_body_that_is_no_request_is_a_validation_error(bus: Client, rpc: RpcClient) -> None:
    for body in (b"", b"\xff\xfe", b"[]", b'{"slug": 1}', b'{"slug": "a", "name": "\\ud800"}'):
        try:
            reply = await bus.request("rpc.v1.tenants.create_tenant", body, timeout=5)
        except NatsTimeoutError:
            pytest.fail(f"no answer to {body!r}")
        assert msgspec.json.decode(reply.data)["code"] == "validation_failed"
