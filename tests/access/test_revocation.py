"""What is revoked or disabled is refused by every gateway within five seconds."""

import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
from tests.access.conftest import Gateways
from tests.platform import Tenant, until

MOST_SECONDS = 5.0
OVERLAP_SECONDS = 5


async def refused_by_all(clients: list[httpx.AsyncClient], act: Callable[[], Awaitable[object]]) -> None:
    """Return when, after `act`, every gateway refuses the clients' key."""
    assert set(await statuses(clients)) == {200}
    await act()

    async def refused() -> bool:
        found = set(await statuses(clients))
        assert found <= {200, 401}
        return found == {401}

    await until(refused, MOST_SECONDS, "the key is refused by every gateway")


async def test_a_revoked_key(gateways: Gateways, tenant: Tenant) -> None:
    made = await tenant.client.create_key("short-lived", scopes=["collections:read"])
    async with gateways.clients(made.key) as clients:
        await refused_by_all(clients, lambda: tenant.client.revoke_key(made.api_key.id))


async def test_a_key_that_was_replaced_goes_on_for_the_overlap_and_no_longer(
    gateways: Gateways, tenant: Tenant
) -> None:
    made = await tenant.client.create_key("rotated", scopes=["collections:read"])
    address = f"/api/keys/{made.api_key.id}/rotate"
    async with gateways.clients(made.key) as clients:
        await statuses(clients)  # which both remember
        before = time.monotonic()
        answer = await tenant.http.post(address, json={"overlap_seconds": OVERLAP_SECONDS})
        after = time.monotonic()
        assert answer.status_code == 201
        async with gateways.clients(answer.json()["key"]) as new:
            refused: set[int] = set()

            async def refused_by_both() -> bool:
                for number, client in enumerate(clients):
                    status = (await client.get("/api/collections")).status_code
                    answered = time.monotonic()
                    assert status in {200, 401}
                    if status == 401:
                        assert answered >= before + OVERLAP_SECONDS, "refused before the overlap was over"
                        refused.add(number)
                    else:
                        assert number not in refused, "let in again after it was refused"
                assert await statuses(new) == [200, 200]
                return len(refused) == len(clients)

            until_then = after + OVERLAP_SECONDS + MOST_SECONDS - time.monotonic()
            await until(refused_by_both, until_then, "the old key is refused")


async def statuses(clients: list[httpx.AsyncClient]) -> list[int]:
    return [(await client.get("/api/collections")).status_code for client in clients]


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
        await refused_by_all(clients, act)

        if way == "deleted":
            assert (await operator.post(f"{address}/restore")).json()["state"] == "disabled"
        await operator.patch(address, json={"disabled": False})

        async def back() -> bool:
            return {(await client.get("/api/collections")).status_code for client in clients} == {200}

        await until(back, 10, "the tenant is let in again")
