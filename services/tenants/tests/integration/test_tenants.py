import asyncio

import pytest

from quarry_common.contracts.tenancy import (
    CREATE_TENANT,
    LIST_TENANTS,
    RESOLVE_SLUG,
    CreateTenant,
    ListTenants,
    ResolveSlug,
    Tenant,
    TenantState,
)
from quarry_common.errors import RemoteError
from quarry_common.messaging.rpc import RpcClient


async def test_a_created_tenant_is_found_by_its_slug(rpc: RpcClient) -> None:
    created = await rpc.call(CREATE_TENANT, CreateTenant("acme", "Acme Ltd"))

    found = await rpc.call(RESOLVE_SLUG, ResolveSlug("acme"))

    assert found == created
    assert (found.slug, found.name, found.state) == ("acme", "Acme Ltd", TenantState.ACTIVE)


async def test_a_slug_that_is_taken_is_a_conflict(rpc: RpcClient) -> None:
    await rpc.call(CREATE_TENANT, CreateTenant("taken", "The first"))

    with pytest.raises(RemoteError) as caught:
        await rpc.call(CREATE_TENANT, CreateTenant("taken", "The second"))

    assert (caught.value.data.code, caught.value.data.status) == ("conflict", 409)
    assert "'taken' is taken" in caught.value.data.detail


async def test_of_many_that_ask_for_one_slug_at_once_one_gets_it(rpc: RpcClient) -> None:
    answers = await asyncio.gather(
        *(rpc.call(CREATE_TENANT, CreateTenant("contested", f"Number {i}")) for i in range(20)),
        return_exceptions=True,
    )

    assert sum(isinstance(answer, Tenant) for answer in answers) == 1
    assert {a.data.code for a in answers if isinstance(a, RemoteError)} == {"conflict"}


@pytest.mark.parametrize("slug", ["", "-acme", "acme-", "Acme", "a b", "a" * 64, "acme\n", "ü", "a\0b"])
async def test_a_slug_that_is_none_is_refused(rpc: RpcClient, slug: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await rpc.call(CREATE_TENANT, CreateTenant(slug, "Acme"))

    assert caught.value.data.code == "validation_failed"
    assert [error.field for error in caught.value.data.errors] == ["slug"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\0b", "a\nb"])
async def test_a_name_that_is_none_is_refused(rpc: RpcClient, name: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await rpc.call(CREATE_TENANT, CreateTenant("fine", name))

    assert [error.field for error in caught.value.data.errors] == ["name"]


@pytest.mark.parametrize("slug", ["nobody", "a\0b", "x" * 10_000])
async def test_an_unknown_slug_is_not_found(rpc: RpcClient, slug: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await rpc.call(RESOLVE_SLUG, ResolveSlug(slug))

    assert caught.value.data.code == "not_found"
    assert len(caught.value.data.detail) < 200


async def test_pages_hold_every_tenant_once_in_the_order_of_creation(rpc: RpcClient) -> None:
    created = [await rpc.call(CREATE_TENANT, CreateTenant(f"paged-{i}", f"Paged {i}")) for i in range(7)]

    found: list[Tenant] = []
    cursor: str | None = None
    while True:
        page = await rpc.call(LIST_TENANTS, ListTenants(limit=3, cursor=cursor))
        assert len(page.tenants) <= 3
        found += page.tenants
        cursor = page.next_cursor
        if cursor is None:
            break

    assert [tenant for tenant in found if tenant.slug.startswith("paged-")] == created
    assert len({tenant.id for tenant in found}) == len(found)


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "not a cursor", "A" * 500])
async def test_a_cursor_that_is_none_is_refused(rpc: RpcClient, cursor: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await rpc.call(LIST_TENANTS, ListTenants(cursor=cursor))

    assert [error.field for error in caught.value.data.errors] == ["cursor"]


@pytest.mark.parametrize("limit", [0, -1, 201, 10**30])
async def test_a_limit_out_of_range_is_refused(rpc: RpcClient, limit: int) -> None:
    with pytest.raises(RemoteError) as caught:
        await rpc.call(LIST_TENANTS, ListTenants(limit=limit))

    assert caught.value.data.status == 422
