"""Custom domains: a verified one stands for its tenant, any other for nobody."""

from collections.abc import Sequence

import httpx
import pytest
from tests.access.conftest import Gateways
from tests.platform import Platform, Tenant, until

KNOWN_SECONDS = 10.0
"""Until every gateway knows what became of a domain."""


def domain_of(tenant: Tenant) -> str:
    return f"search.{tenant.slug}.example"


async def claim(tenant: Tenant, name: str) -> None:
    answer = await tenant.http.post("/api/domains", json={"name": name})
    assert (answer.status_code, answer.json()["state"]) == (201, "pending"), answer.text


async def mark(platform: Platform, tenant: Tenant, name: str, state: str) -> None:
    """Write into the database what a look at the DNS would have found: there is none for tests."""
    async with platform.database() as database:
        done = await database.execute(
            """
            UPDATE tenants.domains SET state = $3, verified_at = now(), checked_at = now()
            WHERE tenant_id = $1 AND name = $2
            """,
            tenant.id, name, state,
        )  # fmt: skip
    assert done == "UPDATE 1"


async def verified(platform: Platform, tenant: Tenant, name: str) -> None:
    await claim(tenant, name)
    await mark(platform, tenant, name, "verified")


async def ask(client: httpx.AsyncClient, host: str, tenant: str | None = None) -> httpx.Response:
    headers = {"Host": host} | ({"X-Tenant": tenant} if tenant else {})
    return await client.get("/api/documents", headers=headers)


async def statuses(clients: Sequence[httpx.AsyncClient], host: str) -> list[int]:
    return [(await ask(client, host)).status_code for client in clients]


async def test_a_verified_domain_stands_for_its_tenant(
    platform: Platform, gateways: Gateways, tenant: Tenant
) -> None:
    await tenant.put("ours", "A heron by the river.")
    name = domain_of(tenant)
    await verified(platform, tenant, name)
    async with gateways.clients(platform.operator_key) as operators, gateways.clients(tenant.key) as owners:
        for host in (name, f"{name}:8443", name.upper(), f"{name}."):
            for operator in operators:
                # An operator names no tenant: the name in `Host` does.
                answer = await ask(operator, host)
                assert answer.status_code == 200, (host, answer.text)
                assert [each["external_id"] for each in answer.json()["documents"]] == ["ours"]
            assert await statuses(owners, host) == [200, 200]


@pytest.mark.parametrize("state", ["pending", "lapsed"])
async def test_a_domain_that_is_not_verified_stands_for_nobody(
    platform: Platform, gateways: Gateways, tenant: Tenant, other_tenant: Tenant, state: str
) -> None:
    name = domain_of(tenant)
    await claim(tenant, name)
    if state != "pending":
        await mark(platform, tenant, name, state)
    async with (
        gateways.clients(platform.operator_key) as operators,
        gateways.clients(other_tenant.key) as others,
    ):
        assert await statuses(operators, name) == await statuses(operators, "unclaimed.example")
        assert 200 not in await statuses(operators, name)
        # To others it is an address of the installation like any.
        assert await statuses(others, name) == [200, 200]


async def test_a_key_of_another_tenant_is_refused_there_and_it_is_written_down(
    platform: Platform, gateways: Gateways, tenant: Tenant, other_tenant: Tenant
) -> None:
    name = domain_of(tenant)
    await verified(platform, tenant, name)
    async with gateways.clients(other_tenant.key) as clients:
        answers = [await ask(client, name) for client in clients]

        assert [answer.status_code for answer in answers] == [403, 403]
        assert not any(tenant.slug in answer.text.replace(name, "") for answer in answers)
        assert not any(str(tenant.id) in answer.text for answer in answers)
        # The installation's own address goes on to be theirs.
        assert await statuses(clients, "127.0.0.1") == [200, 200]

    async def written() -> bool:
        told = (await other_tenant.http.get("/api/audit", params={"outcome": "denied"})).json()["entries"]
        return f"domain {name}" in {entry["target"] for entry in told}

    await until(written, 10, "the attempt is in the log")


async def test_no_header_leads_past_a_domain(
    platform: Platform, gateways: Gateways, tenant: Tenant, other_tenant: Tenant
) -> None:
    name = domain_of(tenant)
    await verified(platform, tenant, name)
    async with gateways.clients(other_tenant.key) as (client, _):
        for slug in (tenant.slug, other_tenant.slug):
            assert (await ask(client, name, slug)).status_code == 403
        forwarded = {"Host": "127.0.0.1", "X-Forwarded-Host": name, "Forwarded": f"host={name}"}
        answer = await client.get("/api/documents", headers=forwarded)
        assert answer.status_code == 200  # nobody is believed who says that it was asked by another name


async def test_a_domain_that_is_given_up_is_forgotten_everywhere(
    platform: Platform, gateways: Gateways, tenant: Tenant, other_tenant: Tenant
) -> None:
    name = domain_of(tenant)
    await verified(platform, tenant, name)
    async with gateways.clients(other_tenant.key) as clients:
        assert await statuses(clients, name) == [403, 403]

        assert (await tenant.http.delete(f"/api/domains/{name}")).status_code == 200

        async def forgotten() -> bool:
            return await statuses(clients, name) == [200, 200]

        await until(forgotten, KNOWN_SECONDS, "both gateways have forgotten the domain")
