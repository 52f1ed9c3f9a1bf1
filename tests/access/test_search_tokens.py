"""Search tokens: signed by the tenant's own server, they search within what they say and do nothing else."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from tests.access.conftest import Gateways
from tests.attack.routes import GUARDED, Route
from tests.platform import Platform, Tenant, until

from quarry_client import search_tokens
from quarry_client.types import MODES

MOST_SECONDS = 5.0
QUERY = "heron report"
OUTSIDE: tuple[dict[str, object], ...] = (
    {},
    {"collection": ["closed", "default", "open"]},
    {"tags": {"any": ["secret", "public"]}},
    {"or": [{"tags": ["secret"]}, {"collection": "closed"}, {"not": {"tags": {"any": ["nothing"]}}}]},
    {"not": {"external_id": "public"}},
    {"external_id": ["secret", "closed", "board"]},
)
"""Filters by which a search asks for more than a token gives."""


@dataclass(frozen=True)
class Signer:
    """A tenant's signing key, with its private half."""

    id: UUID
    private_key: str

    def token(self, **bounds: Any) -> str:
        """Return a token, made as applications make them."""
        return search_tokens.make(self.private_key, self.id, **bounds)

    def signed(self, **claims: object) -> str:
        """Return a token of any claims, also of those that the client would not sign."""
        return jwt.encode(claims, self.private_key, algorithm="EdDSA", headers={"kid": str(self.id)})


async def signer_of(tenant: Tenant, **bounds: object) -> Signer:
    answer = await tenant.http.post("/api/signing-keys", json={"name": "shop", **bounds})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return Signer(UUID(made["signing_key"]["id"]), made["private_key"])


@pytest.fixture
async def signer(tenant: Tenant) -> Signer:
    return await signer_of(tenant)


@pytest.fixture
async def stocked(tenant: Tenant) -> Tenant:
    """A tenant whose documents differ in collection, tags and who may find them."""
    for name in ("open", "closed"):
        await tenant.client.create_collection(name)
    text = "The heron report of the year."
    documents: list[tuple[str, dict[str, object]]] = [
        ("public", {"collection": "open", "tags": ["public"]}),
        ("secret", {"collection": "open", "tags": ["secret"]}),
        ("closed", {"collection": "closed", "tags": ["public"]}),
        ("board", {"collection": "open", "tags": ["public"], "allowed_principals": ["group:board"]}),
    ]
    await asyncio.gather(*(tenant.put(name, text, **fields) for name, fields in documents))
    return tenant


async def told(client: httpx.AsyncClient, mode: str, filters: dict[str, object]) -> dict[str, Any]:
    body = {
        "query": QUERY,
        "mode": mode,
        "facets": ["collection", "tags", "external_id"],
        "limit": 50,
        **({"filters": filters} if filters else {}),
    }
    answer = await client.post("/api/search", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def names(found: dict[str, Any]) -> set[str]:
    return {result["external_id"] for result in found["results"]}


async def statuses(clients: Sequence[httpx.AsyncClient]) -> list[int]:
    body = {"query": QUERY, "mode": "keyword"}
    return [(await client.post("/api/search", json=body)).status_code for client in clients]


async def refused_by_all(clients: Sequence[httpx.AsyncClient]) -> None:
    async def refused() -> bool:
        found = await statuses(clients)
        assert set(found) <= {200, 401}
        return found == [401] * len(clients)

    await until(refused, MOST_SECONDS, "the token is refused by every gateway")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("bounds", "within"),
    [
        pytest.param({}, {"public", "secret", "closed"}, id="nothing"),
        pytest.param({"filter": {"tags": ["public"]}}, {"public", "closed"}, id="filter"),
        pytest.param({"collections": ["open"]}, {"public", "secret"}, id="collections"),
        pytest.param({"collections": []}, set(), id="no collection"),
        pytest.param(
            {"principals": ["group:board", "user:ada"]},
            {"public", "secret", "closed", "board"},
            id="principals",
        ),
        pytest.param(
            {"filter": {"tags": ["public"]}, "collections": ["open"], "principals": ["group:board"]},
            {"public", "board"},
            id="all three",
        ),
    ],
)
async def test_what_a_token_forces_holds_whatever_is_asked(
    gateways: Gateways, stocked: Tenant, signer: Signer, mode: str, bounds: dict[str, Any], within: set[str]
) -> None:
    async with gateways.clients(signer.token(**bounds)) as clients:
        for client in clients:
            whole = await told(client, mode, {})
            assert names(whole) == within
            assert whole["total"] == len(within)
            assert {each["value"] for each in whole["facets"]["external_id"]} == within
            for filters in OUTSIDE:
                found = await told(client, mode, filters)
                counted = {each["value"] for each in found["facets"]["external_id"]}
                assert names(found) | counted <= within, filters
                assert found["total"] == len(names(found))
            # Its own conditions are joined to the token's, not replaced by them.
            assert names(await told(client, mode, {"external_id": "public"})) == within & {"public"}


async def test_each_search_of_a_batch_is_bound_too(
    gateways: Gateways, stocked: Tenant, signer: Signer
) -> None:
    body = {"queries": [{"query": QUERY, **({"filters": filters} if filters else {})} for filters in OUTSIDE]}
    async with gateways.clients(signer.token(filter={"tags": ["secret"]})) as clients:
        for client in clients:
            results = (await client.post("/api/search/batch", json=body)).json()["results"]

            assert len(results) == len(OUTSIDE)
            assert names(results[0]["answer"]) == {"secret"}
            assert all(names(result["answer"]) <= {"secret"} for result in results)


async def test_a_token_reaches_no_further_than_its_signing_key(gateways: Gateways, stocked: Tenant) -> None:
    signer = await signer_of(stocked, collections=["open"])
    for asked, within in (
        (["open", "closed"], {"public", "secret"}),
        (["closed"], set()),
        (None, {"public", "secret"}),
    ):
        async with gateways.clients(signer.token(collections=asked)) as clients:
            assert [names(await told(client, "keyword", {})) for client in clients] == [within, within]


async def test_tokens_of_different_bounds_do_not_share_cached_answers(
    gateways: Gateways, stocked: Tenant, signer: Signer
) -> None:
    async with (
        gateways.clients(signer.token()) as (wide, _),
        gateways.clients(signer.token(filter={"tags": ["secret"]})) as (narrow, _),
    ):

        async def cached() -> bool:
            return bool((await told(wide, "keyword", {}))["cache"] == "hit")

        await until(cached, 20, "the wide answer comes from the cache")

        assert names(await told(narrow, "keyword", {})) == {"secret"}


async def test_a_wait_tells_nothing_of_jobs_elsewhere(
    gateways: Gateways, stocked: Tenant, signer: Signer
) -> None:
    (job,) = (await stocked.client.list_jobs(collection="closed")).jobs
    body = {"query": QUERY, "wait_for": [str(job.id)]}
    async with gateways.clients(signer.token(collections=["open"])) as clients:
        found = [(await client.post("/api/search", json=body)).status_code for client in clients]

    assert found == [404, 404]


async def test_a_revoked_signing_key_ends_all_its_tokens(
    gateways: Gateways, tenant: Tenant, signer: Signer
) -> None:
    other = await signer_of(tenant)
    async with gateways.clients(signer.token()) as clients, gateways.clients(other.token()) as others:
        assert await statuses([*clients, *others]) == [200] * 4

        answer = await tenant.http.post(f"/api/signing-keys/{signer.id}/revoke", json={})
        assert answer.status_code == 200, answer.text

        await refused_by_all(clients)
        assert await statuses(others) == [200, 200]
    async with gateways.clients(signer.token()) as made_after:
        assert await statuses(made_after) == [401, 401]


async def test_tokens_issued_before_a_moment_are_revoked_and_later_ones_are_not(
    gateways: Gateways, tenant: Tenant, signer: Signer
) -> None:
    now = int(time.time())
    early = signer.signed(iat=now - 600, exp=now + 600)
    late = signer.signed(iat=now - 60, exp=now + 600)
    async with gateways.clients(early) as before, gateways.clients(late) as after:
        assert await statuses([*before, *after]) == [200] * 4

        moment = (datetime.now(UTC) - timedelta(seconds=300)).isoformat()
        answer = await tenant.http.post(f"/api/signing-keys/{signer.id}/revoke", json={"before": moment})
        assert answer.status_code == 200, answer.text

        await refused_by_all(before)
        assert await statuses(after) == [200, 200]


@pytest.mark.parametrize("route", [each for each in GUARDED if each.scope != "search"], ids=str)
async def test_a_token_is_for_no_other_route(platform: Platform, shared_token: str, route: Route) -> None:
    async with platform.http(shared_token) as client:
        answer = await client.request(
            route.method, route.target(), json=route.example if route.body else None
        )

    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"


@pytest.fixture(scope="module")
async def shared_token(platform: Platform) -> str:
    """A token that nobody's test changes anything by."""
    async with platform.tenant() as tenant:
        return (await signer_of(tenant)).token()


async def test_tokens_that_are_not_right_are_refused(
    gateways: Gateways, tenant: Tenant, other_tenant: Tenant, signer: Signer
) -> None:
    now = int(time.time())
    foreign = await signer_of(other_tenant)
    wrong = {
        "expired": signer.signed(iat=now - 600, exp=now - 1),
        "not yet": signer.signed(iat=now, nbf=now + 600, exp=now + 1200),
        "too long": signer.signed(iat=now, exp=now + 90_000),
        "another's signature": Signer(signer.id, foreign.private_key).token(),
        "another's id": Signer(foreign.id, signer.private_key).token(),
        "an unknown claim": signer.signed(iat=now, exp=now + 600, filters={"tags": ["public"]}),
        "no signature": jwt.encode(
            {"iat": now, "exp": now + 600}, "", algorithm="none", headers={"kid": str(signer.id)}
        ),
    }
    for what, token in wrong.items():
        async with gateways.clients(token) as clients:
            assert await statuses(clients) == [401, 401], what


async def test_a_token_finds_nothing_of_another_tenant(
    gateways: Gateways, stocked: Tenant, other_tenant: Tenant
) -> None:
    foreign = await signer_of(other_tenant)
    principals, collections = ["group:board"], ["open", "closed"]
    async with gateways.clients(foreign.token(principals=principals, collections=collections)) as clients:
        assert [names(await told(client, "keyword", {})) for client in clients] == [set(), set()]
        named = await clients[0].post(
            "/api/search", json={"query": QUERY}, headers={"X-Tenant": stocked.slug}
        )
        assert named.status_code == 403


async def test_a_token_that_ends_is_refused_from_then_on(gateways: Gateways, signer: Signer) -> None:
    async with gateways.clients(signer.token(lifetime_seconds=3)) as clients:
        assert await statuses(clients) == [200, 200]

        await refused_by_all(clients)
