"""Web pages of other origins: let in where the tenant lists them, and nowhere else."""

from collections.abc import Callable, Sequence

import httpx
import pytest
from tests.access.conftest import Gateways, limit
from tests.platform import Tenant, until

LISTED, UNLISTED = "https://www.shop.example", "https://evil.example"
ALLOW = "access-control-allow-origin"


def origin_of(tenant: Tenant) -> str:
    """Return a page that no other tenant lists."""
    return f"https://{tenant.slug}.example"


async def ask(
    client: httpx.AsyncClient, origin: str, key: str | None = None, method: str = "GET"
) -> httpx.Response:
    """Ask as a page of `origin` does; with `key` in the place of the client's."""
    return await client.request(
        method, "/api/collections", headers={"Origin": origin} | ({"X-API-Key": key} if key else {})
    )


async def preflight(client: httpx.AsyncClient, origin: str) -> httpx.Response:
    """Ask as a browser does before it sends a page's search: without a key."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as browser:
        answer = await browser.options("/api/search", headers=headers)
    assert answer.status_code == 204
    return answer


def cors_headers(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


async def listing(tenant: Tenant, clients: Sequence[httpx.AsyncClient], *origins: str) -> None:
    """List a tenant's origins; both gateways know them when it returns."""
    answer = await tenant.http.patch("/api/tenant", json={"cors_origins": list(origins)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["cors_origins"] == list(origins)

    async def known() -> bool:
        told = [(await ask(client, origin)).headers.get(ALLOW) for client in clients for origin in origins]
        return told == [*origins] * len(clients)

    await until(known, 10, "both gateways know the origins")


async def test_they_are_off_until_a_tenant_lists_any(gateways: Gateways, tenant: Tenant) -> None:
    origin = origin_of(tenant)
    async with gateways.clients(tenant.key) as clients:
        for client in clients:
            answers = [
                await ask(client, origin),
                await ask(client, origin, "x"),
                await preflight(client, origin),
            ]

            assert [answer.status_code for answer in answers] == [200, 401, 204]
            assert [cors_headers(answer) for answer in answers] == [set()] * 3


async def test_a_listed_page_reads_answers_and_refusals(
    gateways: Gateways, operator: httpx.AsyncClient, tenant: Tenant
) -> None:
    origin = origin_of(tenant)
    async with gateways.clients(tenant.key) as clients:
        await listing(tenant, clients, origin, LISTED)
        await limit(operator, tenant, requests_per_second=1, burst=1)
        for client in clients:
            for page in (origin, LISTED):
                asked = await preflight(client, page)
                assert asked.headers[ALLOW] == page
                assert "POST" in asked.headers["access-control-allow-methods"].split(", ")
                allowed = asked.headers["access-control-allow-headers"].split(", ")
                assert {"authorization", "content-type", "x-api-key"} <= set(allowed)
            unknown = await ask(client, origin, "x")
            assert (unknown.status_code, unknown.headers[ALLOW]) == (401, origin)
            wrong = await ask(client, origin, method="PATCH")
            assert wrong.status_code == 405

            async def limited(client: httpx.AsyncClient = client) -> httpx.Response | None:
                answer = await ask(client, origin)
                assert answer.headers[ALLOW] == origin
                return answer if answer.status_code == 429 else None

            refused = await until(limited, 10, "a request is refused")
            exposed = refused.headers["access-control-expose-headers"].split(", ")
            assert {"retry-after", "x-request-id", "ratelimit"} <= set(exposed)
            assert "origin" in refused.headers["vary"].lower()
            # The key is in a header: pages need no cookies, and get none sent.
            assert "access-control-allow-credentials" not in refused.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda origin: UNLISTED,
        lambda origin: f"{origin}.evil.example",
        lambda origin: origin.replace("https:", "http:"),
        lambda origin: f"{origin}:8443",
        lambda origin: origin.replace("https://", "https://evil."),
        lambda origin: origin.upper(),
        lambda origin: "null",
        lambda origin: "*",
    ],
    ids=["other", "suffix", "scheme", "port", "subdomain", "case", "null", "star"],
)
async def test_a_page_that_is_not_listed_reads_nothing(
    gateways: Gateways, tenant: Tenant, change: Callable[[str], str]
) -> None:
    origin = origin_of(tenant)
    async with gateways.clients(tenant.key) as clients:
        await listing(tenant, clients, origin)
        page = change(origin)
        for client in clients:
            answers = [await ask(client, page), await ask(client, page, "x"), await preflight(client, page)]
            assert [cors_headers(answer) for answer in answers] == [set()] * 3


async def test_one_tenants_page_does_not_read_another_tenants_answers(
    gateways: Gateways, tenant: Tenant, other_tenant: Tenant
) -> None:
    async with gateways.clients(tenant.key) as clients, gateways.clients(other_tenant.key) as others:
        await listing(tenant, clients, origin_of(tenant))

        for client in others:
            answer = await ask(client, origin_of(tenant))
            assert (answer.status_code, cors_headers(answer)) == (200, set())


async def test_a_page_that_is_listed_no_more_is_forgotten(gateways: Gateways, tenant: Tenant) -> None:
    origin = origin_of(tenant)
    async with gateways.clients(tenant.key) as clients:
        await listing(tenant, clients, origin)
        await listing(tenant, clients)

        async def forgotten() -> bool:
            told = [
                cors_headers(answer)
                for client in clients
                for answer in (
                    await ask(client, origin),
                    await ask(client, origin, "x"),
                    await preflight(client, origin),
                )
            ]
            return told == [set()] * 6

        await until(forgotten, 10, "both gateways have forgotten the page")
