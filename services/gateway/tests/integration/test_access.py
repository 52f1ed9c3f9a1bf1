"""Who gets in: keys, scopes, tenants, and how long an answer is believed."""

import asyncio

import httpx
import msgspec
import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import KeyLabel
from quarry_common.contracts.events import ApiKeyRevoked, envelope, subject_of
from quarry_common.contracts.tenancy import Scope
from quarry_common.messaging import broker
from quarry_common.messaging.heartbeat import Heartbeat
from quarry_common.settings import NatsSettings
from quarry_gateway.access import resolver


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "qk_live_wrong"},
        {"X-API-Key": keys.generate(KeyLabel.LIVE)},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "x" * 1000},
    ],
)
async def test_without_a_valid_key_nobody_gets_in(http, backend, headers) -> None:
    answer = await http.get("/api/documents", headers=headers)

    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_comes_in_either_header(http, backend) -> None:
    key = backend.key()

    assert (await http.get("/api/documents", headers={"X-API-Key": key})).status_code == 200
    assert (await http.get("/api/documents", headers={"Authorization": f"bearer {key}"})).status_code == 200


async def test_a_key_with_a_wrong_checksum_asks_nobody(http, backend) -> None:
    key = backend.key()

    await http.get("/api/documents", headers={"X-API-Key": key[:-1] + ("0" if key[-1] != "0" else "1")})

    assert backend.resolved == 0


async def test_a_key_is_resolved_once_for_many_requests_at_a_time(http, backend) -> None:
    headers = {"X-API-Key": backend.key()}

    answers = await asyncio.gather(*(http.get("/api/jobs", headers=headers) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert backend.resolved == 1


async def test_an_unknown_key_is_remembered_too(http, backend) -> None:
    headers = {"X-API-Key": keys.generate(KeyLabel.LIVE)}

    for _ in range(3):
        await http.get("/api/jobs", headers=headers)

    assert backend.resolved == 1


async def test_an_announced_revocation_is_heard_at_once(http, backend, nats_url) -> None:
    key = backend.key()
    headers = {"X-API-Key": key}
    assert (await http.get("/api/jobs", headers=headers)).status_code == 200
    principal = backend.principals.pop(keys.sha256(key))
    event = envelope(ApiKeyRevoked(principal.key_id, "key"), source="tenants", tenant_id=backend.acme.id)

    async with broker.connect(NatsSettings(nats_url=nats_url), "test") as connection:
        await connection.publish(subject_of(event), msgspec.json.encode(event))
        await connection.flush()

        # Less than the time for which a key is believed.
        async with asyncio.timeout(2):
            while (await http.get("/api/jobs", headers=headers)).status_code != 401:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("fault", ["silence", "delay"])
async def test_a_key_is_believed_for_long_only_while_its_revocation_would_be_heard(
    fault, gateway_settings, serve, backend, nats_url, until, monkeypatch
) -> None:
    monkeypatch.setattr(resolver, "TRUSTED_TIMES", 1_000)
    settings = gateway_settings.model_copy(update={"key_cache_seconds": 0.2})
    headers = {"X-API-Key": backend.key()}
    lag_ms: float | None = 0.0
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=headers) as http,
        broker.connect(NatsSettings(nats_url=nats_url), "test") as connection,
    ):

        async def asked_again() -> bool:
            await http.get("/api/jobs")
            before = backend.resolved
            await asyncio.sleep(0.3)
            await http.get("/api/jobs")
            return backend.resolved > before

        async def believed() -> bool:
            return not await asked_again()

        assert await asked_again()
        stopping = asyncio.Event()
        beating = asyncio.create_task(Heartbeat(connection, "tenants", lambda: lag_ms).run(stopping))
        await until(believed)
        assert await believed()

        lag_ms = None if fault == "silence" else 60_000.0
        await until(asked_again)
        assert await asked_again()

        lag_ms = 0.0
        await until(believed)
        stopping.set()
        await beating


async def test_a_key_revoked_through_the_gateway_is_refused_by_it_at_once(client, backend) -> None:
    made = (await client.post("/api/keys", json={"name": "shop", "scopes": ["search"]})).json()
    headers = {"X-API-Key": made["key"]}
    assert (await client.post("/api/search", json={"query": "x"}, headers=headers)).status_code == 200

    revoked = await client.delete(f"/api/keys/{made['api_key']['id']}")

    assert revoked.json()["revoked_at"]
    assert (await client.post("/api/search", json={"query": "x"}, headers=headers)).status_code == 401


async def test_a_missing_scope_is_named(http, backend) -> None:
    answer = await http.get("/api/documents", headers={"X-API-Key": backend.key(Scope.SEARCH)})

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "documents:read" in answer.json()["detail"]


async def test_an_operator_acts_for_the_tenant_that_is_named(http, backend) -> None:
    http.headers["X-API-Key"] = backend.key(operator=True)

    unnamed = await http.post("/api/search", json={"query": "x"})
    named = await http.post("/api/search", json={"query": "x"}, headers={"X-Tenant": "other"})
    unknown = await http.post("/api/search", json={"query": "x"}, headers={"X-Tenant": "nobody"})

    assert (unnamed.status_code, named.status_code, unknown.status_code) == (403, 200, 404)
    assert backend.queries[0].tenant_id == backend.other.id


async def test_a_tenants_key_cannot_act_for_another_tenant(client) -> None:
    assert (await client.get("/api/jobs", headers={"X-Tenant": "other"})).status_code == 403
    assert (await client.get("/api/jobs", headers={"X-Tenant": "acme"})).status_code == 200


async def test_only_an_operator_sees_tenants(client, backend) -> None:
    assert (await client.get("/api/admin/tenants")).status_code == 403
    client.headers["X-API-Key"] = backend.key(operator=True)

    made = await client.post("/api/admin/tenants", json={"slug": "new-one", "name": "New"})

    assert (made.status_code, made.headers["location"]) == (201, "/api/admin/tenants/new-one")
    assert (await client.get("/api/admin/tenants/new-one")).json()["name"] == "New"
    assert (await client.get("/api/admin/tenants/none")).status_code == 404
    assert (await client.get("/api/admin/tenants?limit=2")).json()["tenants"][0]["slug"] == "acme"
    again = await client.post("/api/admin/tenants", json={"slug": "new-one", "name": "New"})
    assert again.status_code == 409


async def test_keys_are_listed_without_secrets(client) -> None:
    listed: httpx.Response = await client.get("/api/keys")

    assert listed.status_code == 200
    assert "key" not in listed.json()["keys"][0]
