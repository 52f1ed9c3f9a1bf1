"""Routes of domains and signing keys: what the tenants service is asked for, and by whom."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Request
from litestar.datastructures import State

from quarry_common.contracts.audit import Actor, ActorKind
from quarry_common.contracts.domains import Domain, DomainRef, Domains, DomainsOf, DomainState
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.signing_keys import (
    CreatedSigningKey,
    CreateSigningKey,
    ListSigningKeys,
    RevokeTokens,
    SigningKey,
    SigningKeys,
)
from quarry_common.contracts.tenancy import TENANT_SCOPES
from quarry_common.ids import new_id
from quarry_gateway.domain import Caller
from quarry_gateway.http.problems import answer_error
from quarry_gateway.routes import domains, signing_keys
from quarry_gateway.settings import GatewaySettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TENANT = new_id()
DOMAIN = Domain("a.example", DomainState.PENDING, "_quarry-challenge.a.example", "value", NOW)
KEY = SigningKey(new_id(), "shop", "A" * 43, NOW)
REPLIES: dict[str, msgspec.Struct] = {
    "register_domain": DOMAIN,
    "check_domain": DOMAIN,
    "remove_domain": DOMAIN,
    "list_domains": Domains([DOMAIN]),
    "create_signing_key": CreatedSigningKey(KEY, "-----BEGIN PRIVATE KEY-----"),
    "list_signing_keys": SigningKeys([KEY]),
    "revoke_tokens": KEY,
}


class Gateway:
    """Notes what the tenants service would be asked."""

    def __init__(self) -> None:
        self.settings = GatewaySettings()
        self.asked: list[msgspec.Struct] = []

    async def ask(self, method: RpcMethod[Any, Any], request: msgspec.Struct) -> msgspec.Struct:
        self.asked.append(request)
        return REPLIES[method.name]

    def reserve(self, size_bytes: int) -> None:
        pass

    def release(self, size_bytes: int) -> None:
        pass


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def of_kind(kind: ActorKind) -> Caller:
    return Caller(
        key_id=new_id(),
        kind=kind,
        scopes=TENANT_SCOPES,
        tenant=TENANT,
        tenant_slug="acme",
        request_id="request-1",
    )


@pytest.fixture
def caller() -> Caller:
    return of_kind(ActorKind.KEY)


@pytest.fixture
async def http(gateway: Gateway, caller: Caller) -> AsyncIterator[httpx.AsyncClient]:
    def enter(request: Request[Any, Any, State]) -> None:
        request.scope["auth"] = caller
        request.scope["request_id"] = "request-1"

    app = Litestar(
        [*domains.HANDLERS, *signing_keys.HANDLERS],
        before_request=enter,
        exception_handlers={Exception: answer_error},
        state=State({"gateway": gateway}),
        openapi_config=None,
        logging_config=None,
    )
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://quarry") as client:
        yield client


@pytest.fixture
def actor(caller: Caller) -> Actor:
    return Actor(ActorKind.KEY, caller.key_id, request_id="request-1")


async def test_a_domain_is_claimed(http: httpx.AsyncClient, gateway: Gateway, actor: Actor) -> None:
    answer = await http.post("/api/domains", json={"name": "a.example"}, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 201
    assert answer.json()["record_name"] == "_quarry-challenge.a.example"
    assert gateway.asked == [DomainRef(TENANT, "a.example", "k", actor)]


async def test_a_domain_is_checked_and_given_up(
    http: httpx.AsyncClient, gateway: Gateway, actor: Actor
) -> None:
    headers = {"Idempotency-Key": "k"}
    checked = await http.post("/api/domains/b%C3%BCcher.example/check", headers=headers)
    removed = await http.delete("/api/domains/a.example", headers=headers)

    assert (checked.status_code, removed.status_code) == (200, 200)
    assert gateway.asked == [
        DomainRef(TENANT, "bücher.example", "k", actor),
        DomainRef(TENANT, "a.example", None, actor),
    ]


async def test_domains_and_signing_keys_are_listed(http: httpx.AsyncClient, gateway: Gateway) -> None:
    listed, keys = await http.get("/api/domains"), await http.get("/api/signing-keys")

    assert [domain["name"] for domain in listed.json()["domains"]] == ["a.example"]
    assert [key["id"] for key in keys.json()["signing_keys"]] == [str(KEY.id)]
    assert gateway.asked == [DomainsOf(TENANT), ListSigningKeys(TENANT)]


async def test_a_signing_key_is_made_within_the_bounds_of_the_key_that_asks(
    http: httpx.AsyncClient, gateway: Gateway, caller: Caller, actor: Actor
) -> None:
    body = {"name": "shop", "collections": ["b", "a"]}

    answer = await http.post("/api/signing-keys", json=body, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 201
    assert answer.json()["private_key"].startswith("-----BEGIN")
    (asked,) = gateway.asked
    assert isinstance(asked, CreateSigningKey)
    assert asked.maker.scopes == caller.scopes
    assert (asked.name, asked.public_key, asked.idempotency_key) == ("shop", None, "k")
    assert asked.collections == {"a", "b"}
    assert asked.actor == actor


async def test_tokens_are_revoked_up_to_a_moment_or_for_ever(
    http: httpx.AsyncClient, gateway: Gateway, actor: Actor
) -> None:
    path = f"/api/signing-keys/{KEY.id}/revoke"

    await http.post(path, json={"before": "2026-01-31T12:00:00Z"})
    await http.post(path, json={})

    assert gateway.asked == [
        RevokeTokens(TENANT, KEY.id, NOW, actor=actor),
        RevokeTokens(TENANT, KEY.id, actor=actor),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/domains", {}),
        ("/api/domains", {"name": ""}),
        ("/api/domains", {"name": "a.example", "tenant_id": str(TENANT)}),
        ("/api/domains/" + "x" * 254 + "/check", None),
        ("/api/signing-keys", {"name": "shop", "public_key": "short"}),
        ("/api/signing-keys", {"name": "shop", "collections": ["A b"]}),
        ("/api/signing-keys", {"name": "shop", "maker": {"scopes": ["platform"]}}),
        ("/api/signing-keys/nothing/revoke", {}),
        (f"/api/signing-keys/{KEY.id}/revoke", {"before": "2026-01-31T12:00:00"}),
        (f"/api/signing-keys/{KEY.id}/revoke", {"befor": "2026-01-31T12:00:00Z"}),
    ],
)
async def test_what_is_not_valid_asks_nobody(
    http: httpx.AsyncClient, gateway: Gateway, path: str, body: dict[str, object] | None
) -> None:
    answer = await http.post(path, json=body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "validation_failed"
    assert gateway.asked == []


@pytest.mark.parametrize("caller", [of_kind(ActorKind.OPERATOR)])
async def test_an_operator_acts_as_one(http: httpx.AsyncClient, gateway: Gateway, caller: Caller) -> None:
    await http.delete("/api/domains/a.example")

    (asked,) = gateway.asked
    assert isinstance(asked, DomainRef)
    assert asked.actor == Actor(ActorKind.OPERATOR, caller.key_id, request_id="request-1")
