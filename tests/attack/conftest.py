"""Two tenants with something worth stealing, and a way to send them anything."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from tests.attack.routes import Route
from tests.attack.wire import Answer, Headers, Host, request
from tests.platform import Platform, Tenant

SERVICES = ("analytics", "gateway", "indexer", "search", "tenants", "webhooks")
MOST_GROWTH_BYTES = 400 << 20
"""What a service may keep of what it was sent: allocators keep pages, nothing else."""


@dataclass(frozen=True)
class Attacker:
    """Sends requests with the keys of `own` tenant, or the operator's for what only operators may."""

    host: Host
    own: Tenant
    operator_key: str

    def credentials(self, route: Route | None = None) -> dict[str, str]:
        """Return the headers that let a request in."""
        if route is not None and route.scope == "platform":
            return {"x-api-key": self.operator_key, "x-tenant": self.own.slug}
        return {"x-api-key": self.own.key}

    async def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Headers | None = None,
        *,
        route: Route | None = None,
    ) -> Answer:
        """Send a request that is let in."""
        return await self.host.send(
            request(method, target, {**self.credentials(route), **(headers or {})}, body), method=method
        )

    async def send_json(self, route: Route, body: bytes) -> Answer:
        """Send a body that says it is JSON."""
        json_type = {"content-type": "application/json"}
        return await self.send(route.method, route.target(), body, json_type, route=route)


@dataclass(frozen=True)
class Victim:
    """A tenant that the attacker knows all ids of."""

    tenant: Tenant
    ids: Mapping[str, str]
    """By the name of the path parameter."""
    dead_job_id: str
    """A job that failed and that nobody has decided upon."""
    secret: str
    """A word that stands in each of its things."""


@asynccontextmanager
async def attacking(platform: Platform) -> AsyncIterator[Attacker]:
    """Yield who attacks, with a tenant of his own."""
    parts = urlsplit(platform.url)
    assert parts.hostname
    assert parts.port
    async with platform.tenant() as own:
        yield Attacker(Host(parts.hostname, parts.port), own, platform.operator_key)


async def damaged(tenant: Tenant, title: str) -> str:
    """Store a file that nobody can read; return its job when it is a dead letter."""
    file = {"file": (f"{title}.pdf", b"%PDF-1.7 this is none", "application/pdf")}
    answer = await tenant.http.post("/api/documents", files=file, data={"title": title})
    job = await tenant.finished(UUID(answer.json()["job_id"]))
    assert job.state == "failed"
    return str(job.id)


@asynccontextmanager
async def worth_stealing_from(platform: Platform) -> AsyncIterator[Victim]:
    """Yield a tenant with one of each thing, each named with the same secret word."""
    secret = f"zebra{secrets.token_hex(6)}"
    async with platform.tenant() as tenant:
        await tenant.client.create_collection(secret)
        job = await tenant.put(f"{secret}/1", f"The {secret} of the house.", title=secret, collection=secret)
        made = await tenant.client.create_key(secret, scopes=["search"])
        signing = await tenant.client.create_signing_key(secret)
        claim = await tenant.client.add_domain(f"{secret}.example")
        hook = await tenant.client.create_webhook(
            f"https://{secret}.example/", description=secret, enabled=False
        )
        test = await tenant.client.send_webhook_test(hook.endpoint.id)
        replay = await tenant.client.replay_webhook(hook.endpoint.id, since=test.created_at)
        judged = await tenant.http.post("/api/judged-sets", json={"name": secret, "collection": secret})
        await tenant.http.post("/api/search", json={"query": secret, "user_id": secret})
        dead = await damaged(tenant, secret)
        ids = {
            "document_id": str(job.document_id),
            "job_id": str(job.id),
            "key_id": str(made.api_key.id),
            "signing_key_id": str(signing.signing_key.id),
            "webhook_id": str(hook.endpoint.id),
            "delivery_id": str(test.id),
            "replay_id": str(replay.id),
            "set_id": judged.json()["judged_set"]["id"],
            "user_id": secret,
            "domain": claim.name,
            "name": secret,
            "external_id": f"{secret}/1",
            "slug": tenant.slug,
        }
        yield Victim(tenant, ids, dead, secret)


@pytest.fixture(scope="session")
async def attacker(platform: Platform) -> AsyncIterator[Attacker]:
    """Yield who attacks."""
    async with attacking(platform) as made:
        yield made


@pytest.fixture(scope="session")
def host(attacker: Attacker) -> Host:
    """Return where the API is."""
    return attacker.host


@pytest.fixture(scope="session")
async def victim(platform: Platform) -> AsyncIterator[Victim]:
    """Yield whom all attack."""
    async with worth_stealing_from(platform) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
async def unharmed(platform: Platform, attacker: Attacker) -> AsyncIterator[None]:
    """After each module the platform is well: the same processes, ready, healthy, and not much larger."""
    await attacker.own.put("before", "A walrus on the ice.")
    before = {name: platform.process(name) for name in SERVICES}
    sizes = {name: process.memory_info().rss for name, process in before.items()}
    yield
    for name, process in before.items():
        assert platform.process(name) == process, f"{name} was restarted"
        grown = process.memory_info().rss - sizes[name]
        assert grown < MOST_GROWTH_BYTES, f"{name} has grown by {grown >> 20} MiB"
    await platform.all_ready(30)
    health = (await attacker.own.http.get("/api/health")).json()
    assert health["status"] == "healthy", health
    await attacker.own.put("after", "A kestrel above the field.")
    found = await attacker.own.search("kestrel above the field")
    assert "kestrel" in found.results[0].text
