"""A tenant changes, is disabled, deleted, restored; whom that is told."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import RESOLVE_KEY, VERIFY_KEY, ResolveKey, VerifyKey
from quarry_common.contracts.audit import LIST_AUDIT, Actor, ActorKind, ListAudit
from quarry_common.contracts.domains import RESOLVE_ORIGIN, ResolveOrigin
from quarry_common.contracts.events import TenantDeleted, TenantUpdated
from quarry_common.contracts.tenancy import (
    DELETE_TENANT,
    GET_TENANT,
    PLAN_QUOTAS,
    PLATFORM_TENANT,
    RESTORE_TENANT,
    UPDATE_TENANT,
    DeleteTenant,
    GetTenant,
    Plan,
    QuotaChanges,
    RestoreTenant,
    Tenant,
    TenantState,
    UpdateTenant,
)
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

from .conftest import Tenancy, told

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

OPERATOR = Actor(ActorKind.OPERATOR, new_id(), "192.0.2.1", "req-1")


async def get(rpc: RpcClient, tenant: Tenant) -> Tenant:
    return await rpc.call(GET_TENANT, GetTenant(tenant.id))


async def test_what_is_left_out_of_a_change_stays(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant(keys=3)

    renamed = await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, name="Another"))

    assert renamed.name == "Another"
    assert (renamed.plan, renamed.quotas, renamed.state) == (tenant.plan, tenant.quotas, tenant.state)
    assert await get(rpc, tenant) == renamed


async def test_a_plan_sets_quotas_and_changes_set_them_off_from_it(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    changes = QuotaChanges(searches_per_day=50_000, webhooks=None)

    business = await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, plan=Plan.BUSINESS))
    changed = await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, quota_changes=changes))
    back = await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, quota_changes=QuotaChanges()))

    assert business.quotas == PLAN_QUOTAS[Plan.BUSINESS]
    assert (changed.quotas.searches_per_day, changed.quotas.webhooks) == (50_000, None)
    assert changed.quotas.documents == PLAN_QUOTAS[Plan.BUSINESS].documents
    assert changed.quota_changes == changes
    assert back.quotas == PLAN_QUOTAS[Plan.BUSINESS]


async def test_quotas_travel_with_what_a_key_resolves_to(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)

    changed = await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, plan=Plan.STARTER))

    principal = await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(made.key)))
    assert principal.quotas == changed.quotas == PLAN_QUOTAS[Plan.STARTER]


async def test_a_change_is_told_once_with_what_it_changed(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    change = UpdateTenant(tenant.id, plan=Plan.STARTER, cors_origins=["https://a.example"], actor=OPERATOR)

    for _ in range(2):
        await rpc.call(UPDATE_TENANT, change)

    (event,) = await told(admin, tenant.id, TenantUpdated)
    assert isinstance(event, TenantUpdated)
    assert (set(event.changed), event.state) == ({"plan", "quotas", "cors_origins"}, TenantState.ACTIVE)


async def test_every_act_stands_in_the_tenants_log_and_the_installations(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()

    await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, disabled=True, actor=OPERATOR))
    await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id, actor=OPERATOR))
    await rpc.call(RESTORE_TENANT, RestoreTenant(tenant.id, actor=OPERATOR))

    for log in (tenant.id, PLATFORM_TENANT):
        page = await rpc.call(LIST_AUDIT, ListAudit(log, action="tenant", limit=200))
        entries = [entry for entry in page.entries if entry.target == tenant.slug]
        actions = ["tenant.restored", "tenant.deleted", "tenant.updated", "tenant.created"]
        assert [entry.action for entry in entries] == actions
        assert entries[0].actor == OPERATOR
        assert entries[2].before is not None
        assert entries[2].after is not None
        assert (entries[2].before["state"], entries[2].after["state"]) == ("active", "disabled")


async def test_a_disabled_tenants_keys_are_refused_until_it_is_enabled(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)
    sha256 = keys.sha256(made.key)

    await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, disabled=True))
    with pytest.raises(RemoteError, match="is disabled"):
        await rpc.call(RESOLVE_KEY, ResolveKey(sha256))
    verdict = await rpc.call(VERIFY_KEY, VerifyKey(tenant.id, sha256))
    await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, disabled=False))

    assert (verdict.valid, verdict.code) == (False, "disabled")
    assert (await rpc.call(RESOLVE_KEY, ResolveKey(sha256))).key_id == made.api_key.id


async def test_a_deleted_tenant_is_refused_at_once_and_purged_after_its_grace(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)

    deleted = await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id, grace_seconds=3_600))

    assert deleted.state is TenantState.DELETING
    assert deleted.purge_at is not None
    assert abs(deleted.purge_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=5)
    with pytest.raises(RemoteError) as caught:
        await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(made.key)))
    assert caught.value.data.status == 401
    updated, told_of = await told(admin, tenant.id, TenantUpdated, TenantDeleted)
    assert updated == TenantUpdated(
        tenant_id=tenant.id, slug=tenant.slug, changed=["state"], state=TenantState.DELETING
    )
    assert told_of == TenantDeleted(tenant_id=tenant.id, slug=tenant.slug, purge_at=deleted.purge_at)


async def test_the_grace_is_the_installations_unless_the_request_says_another(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()

    first = await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id))
    again = await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id, grace_seconds=60))

    assert first.purge_at is not None
    assert again.purge_at is not None
    assert first.purge_at - again.purge_at > timedelta(days=6)


async def test_without_grace_every_gateway_hears_of_it_first(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    before = datetime.now(UTC)

    deleted = await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id, grace_seconds=0))
    await rpc.call(RESTORE_TENANT, RestoreTenant(tenant.id))

    assert deleted.purge_at is not None
    assert deleted.purge_at >= before + timedelta(seconds=10)


async def test_a_deleted_tenant_can_be_restored_and_is_disabled_still(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id))
    with pytest.raises(RemoteError, match="is deleting"):
        await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, name="Changed"))

    restored = await rpc.call(RESTORE_TENANT, RestoreTenant(tenant.id))

    assert (restored.state, restored.purge_at) == (TenantState.DISABLED, None)
    events = await told(admin, tenant.id, TenantUpdated)
    assert [event.state for event in events if isinstance(event, TenantUpdated)] == [
        TenantState.DELETING,
        TenantState.DISABLED,
    ]
    with pytest.raises(RemoteError) as caught:
        await rpc.call(RESTORE_TENANT, RestoreTenant(tenant.id))
    assert caught.value.data.code == "conflict"


@pytest.mark.parametrize("grace_seconds", [-1, 366 * 86_400])
async def test_a_grace_that_is_none_is_refused(rpc: RpcClient, tenancy: Tenancy, grace_seconds: int) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError) as caught:
        await rpc.call(DELETE_TENANT, DeleteTenant(tenant.id, grace_seconds=grace_seconds))

    assert [error.field for error in caught.value.data.errors] == ["grace_seconds"]
    assert (await get(rpc, tenant)).state is TenantState.ACTIVE


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("name", {"name": " "}),
        ("cors_origins[1]", {"cors_origins": ["https://a.example", "https://b.example/path"]}),
        ("cors_origins", {"cors_origins": ["https://a.example"] * 51}),
    ],
)
async def test_a_wrong_field_of_a_change_is_named(
    rpc: RpcClient, tenancy: Tenancy, field: str, change: dict[str, object]
) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError) as caught:
        await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, **change))  # type: ignore[arg-type]

    assert [error.field for error in caught.value.data.errors] == [field]
    assert await get(rpc, tenant) == tenant


async def test_an_origin_is_known_while_its_tenant_is_active(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    origin = f"https://{tenant.slug}.example"

    async def known(asked: str) -> bool:
        return (await rpc.call(RESOLVE_ORIGIN, ResolveOrigin(asked))).known

    assert not await known(origin)
    await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, cors_origins=[origin]))
    assert await known(origin)
    assert not await known(f"{origin}\0")
    await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, disabled=True))
    assert not await known(origin)


async def test_who_is_not_there_cannot_be_changed(rpc: RpcClient) -> None:
    for call in (
        rpc.call(GET_TENANT, GetTenant(new_id())),
        rpc.call(UPDATE_TENANT, UpdateTenant(new_id(), name="x")),
        rpc.call(DELETE_TENANT, DeleteTenant(new_id())),
        rpc.call(RESTORE_TENANT, RestoreTenant(new_id())),
    ):
        with pytest.raises(RemoteError) as caught:
            await call
        assert caught.value.data.code == "not_found"
