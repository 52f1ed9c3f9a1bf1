"""What is revoked or disabled is refused by every gateway within five seconds."""

import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.access.conftest import Gateways
from tests.platform import Tenant, until

MOST_SECONDS = 5.0


async def refused_by_all(clients: list[httpx.AsyncClient], act: Callable[[], Awaitable[object]]) -> float:
    """Return how many seconds after `act` the last gateway refused the clients' key."""
    for client in clients:
        assert (await client.get("/api/collections")).status_code == 200
    await act()
    done = time.monotonic()
    for client in clients:

        async def refused(client: httpx.AsyncClient = client) -> bool:
            answer = await client.get("/api/collections")
            assert answer.status_code in {200, 401}
            return answer.status_code == 401

        await until(refused, MOST_SECONDS, "the key is refused")
    return time.monotonic() - done


async def test_a_revoked_key(gateways: Gateways, tenant: Tenant) -> None:
    made = await tenant.client.create_key("short-lived", scopes=["collections:read"])
    async with gateways.clients(made.key) as clients:
        seconds = await refused_by_all(clients, lambda: tenant.client.revoke_key(made.api_key.id))

    assert seconds <= MOST_SECONDS


async def test_a_key_that_was_replaced_goes_on_for_the_overlap_and_no_longer(
    gateways: Gateways, tenant: Tenant
) -> None:
    made = await tenant.client.create_key("rotated", scopes=["collections:read"])
    address = f"/api/keys/{made.api_key.id}/rotate"
    async with gateways.clients(made.key) as clients:
        answer = await tenant.http.post(address, json={"overlap_seconds": 2})
        assert answer.status_code == 201
        async with gateways.clients(answer.json()["key"]) as new:
            assert {(await client.get("/api/collections")).status_code for client in (*clients, *new)} == {
                200
            }

            async def old_is_refused() -> bool:
                statuses = [(await client.get("/api/collections")).status_code for client in clients]
                return statuses == [401, 401]

            await until(old_is_refused, 2 + MOST_SECONDS, "the old key is refused")
            assert {(await client.get("/api/collections")).status_code for client in new} == {200}


@pytest.mark.parametrize("way", ["disabled", "deleted"])
async def test_a_tenant_that_is(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant, way: str
) -> None:
    address = f"/api/admin/tenants/{tenant.slug}"

    async def act() -> None:
        answer = await (
            operator.patch(address, json={"disabled": True})
            if way == "disabled"
            else operator.delete(address)
        )
        assert answer.status_code == 200, answer.text

    async with gateways.clients(tenant.key) as clients:
        seconds = await refused_by_all(clients, act)

        assert seconds <= MOST_SECONDS
        if way == "deleted":
            assert (await operator.post(f"{address}/restore")).json()["state"] == "disabled"
        await operator.patch(address, json={"disabled": False})

        async def back() -> bool:
            return {(await client.get("/api/collections")).status_code for client in clients} == {200}

        await until(back, 10, "the tenant is let in again")
