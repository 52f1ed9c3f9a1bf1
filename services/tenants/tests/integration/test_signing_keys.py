"""Signing keys over the bus."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from quarry_common.contracts.api_keys import Grant
from quarry_common.contracts.audit import LIST_AUDIT, Actor, ActorKind, ListAudit
from quarry_common.contracts.signing_keys import (
    CREATE_SIGNING_KEY,
    LIST_SIGNING_KEYS,
    RESOLVE_SIGNING_KEY,
    REVOKE_TOKENS,
    CreatedSigningKey,
    CreateSigningKey,
    ListSigningKeys,
    ResolveSigningKey,
    RevokeTokens,
    TokenIssuer,
)
from quarry_common.contracts.tenancy import TENANT_SCOPES, UPDATE_TENANT, Scope, UpdateTenant
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

from .conftest import Tenancy

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ADMIN = Grant(TENANT_SCOPES)
ADA = Actor(ActorKind.KEY, new_id())
PUBLIC = base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode()


async def make(rpc: RpcClient, tenant_id: UUID, **more: object) -> CreatedSigningKey:
    request = CreateSigningKey(tenant_id, "shop", ADMIN, actor=ADA, **more)  # type: ignore[arg-type]
    return await rpc.call(CREATE_SIGNING_KEY, request)


async def resolve(rpc: RpcClient, key_id: UUID) -> TokenIssuer:
    return await rpc.call(RESOLVE_SIGNING_KEY, ResolveSigningKey(key_id))


async def acts(rpc: RpcClient, tenant_id: UUID) -> list[str]:
    page = await rpc.call(LIST_AUDIT, ListAudit(tenant_id, action="signing_key"))
    return [entry.action for entry in reversed(page.entries)]


async def events(admin: Admin, tenant_id: UUID) -> list[str]:
    rows = await admin.fetch("SELECT subject FROM outbox WHERE tenant_id = $1 ORDER BY id", tenant_id)
    return [row["subject"].split(".", 3)[3] for row in rows]


async def test_a_new_key_comes_with_its_private_half_and_resolves_to_its_tenant(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()

    made = await make(rpc, tenant.id, collections=frozenset({"b", "a"}))

    assert made.private_key is not None
    private = load_pem_private_key(made.private_key.encode(), None)
    assert isinstance(private, Ed25519PrivateKey)
    public = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).rstrip(b"=").decode()
    assert made.signing_key.public_key == public
    assert made.signing_key.collections == ["a", "b"]
    assert await resolve(rpc, made.signing_key.id) == TokenIssuer(
        signing_key_id=made.signing_key.id,
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        public_key=public,
        quotas=tenant.quotas,
        collections=frozenset({"a", "b"}),
    )


async def test_the_private_half_is_stored_nowhere(rpc: RpcClient, tenancy: Tenancy, admin: Admin) -> None:
    tenant = await tenancy.tenant()

    made = await make(rpc, tenant.id, idempotency_key="once")

    assert made.private_key is not None
    secret = "".join(made.private_key.splitlines()[1:-1])
    raw = base64.b64decode(secret)[-32:]
    for table in ("signing_keys", "outbox", "audit_entries", "idempotency_keys"):
        texts = await admin.fetch(f"SELECT {table}::text AS text FROM {table}")
        shown = " ".join(row["text"] for row in texts)
        assert secret not in shown
        assert secret.encode().hex() not in shown
        assert raw.hex() not in shown


async def test_a_public_half_that_the_tenant_made_is_enough(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    made = await make(rpc, tenant.id, public_key=PUBLIC)

    assert made.private_key is None
    assert (await resolve(rpc, made.signing_key.id)).public_key == PUBLIC


async def test_what_is_no_public_half_is_refused(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError) as caught:
        await make(rpc, tenant.id, public_key="short")

    assert [error.field for error in caught.value.data.errors] == ["public_key"]


async def test_a_key_that_may_not_search_makes_none(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    maker = Grant(frozenset({Scope.TENANT_WRITE}))

    with pytest.raises(RemoteError, match="search") as caught:
        await rpc.call(CREATE_SIGNING_KEY, CreateSigningKey(tenant.id, "shop", maker))

    assert caught.value.data.status == 403


async def test_a_repeated_request_gets_the_first_answer(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    first = await make(rpc, tenant.id, idempotency_key="once")
    second = await make(rpc, tenant.id, idempotency_key="once")

    assert first == second
    assert len((await rpc.call(LIST_SIGNING_KEYS, ListSigningKeys(tenant.id))).signing_keys) == 1


async def test_tokens_are_refused_up_to_a_moment_and_no_earlier_one_brings_them_back(
    rpc: RpcClient, tenancy: Tenancy, admin: Admin
) -> None:
    tenant = await tenancy.tenant()
    key = (await make(rpc, tenant.id)).signing_key
    hour_ago = datetime.now(UTC) - timedelta(hours=1)

    await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, key.id, hour_ago, actor=ADA))
    await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, key.id, hour_ago - timedelta(days=1), actor=ADA))

    assert (await resolve(rpc, key.id)).revoke_before == hour_ago
    assert await acts(rpc, tenant.id) == ["signing_key.created", "signing_key.revoked"]
    assert await events(admin, tenant.id) == ["tenant.created", "tenant.updated", "signing_key.revoked"]


async def test_a_moment_to_come_is_refused(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    key = (await make(rpc, tenant.id)).signing_key
    later = datetime.now(UTC) + timedelta(hours=1)

    with pytest.raises(RemoteError) as caught:
        await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, key.id, later))

    assert caught.value.data.code == "validation_failed"


async def test_a_revoked_key_is_refused_for_ever_and_says_so(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    key = (await make(rpc, tenant.id)).signing_key

    first = await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, key.id))
    second = await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, key.id))

    assert first == second
    assert first.revoked_at is not None
    with pytest.raises(RemoteError, match="was revoked at") as caught:
        await resolve(rpc, key.id)
    assert caught.value.data.status == 401
    assert len(await acts(rpc, tenant.id)) == 2


async def test_an_unknown_key_is_refused(rpc: RpcClient) -> None:
    with pytest.raises(RemoteError, match="not known here") as caught:
        await resolve(rpc, new_id())

    assert caught.value.data.code == "unauthenticated"


async def test_a_disabled_tenants_keys_are_refused_and_none_is_made(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    key = (await make(rpc, tenant.id)).signing_key
    await rpc.call(UPDATE_TENANT, UpdateTenant(tenant.id, disabled=True))

    with pytest.raises(RemoteError, match="is disabled") as caught:
        await resolve(rpc, key.id)
    assert caught.value.data.status == 401
    with pytest.raises(RemoteError, match="is disabled") as caught:
        await make(rpc, tenant.id)
    assert caught.value.data.status == 403


async def test_a_tenant_has_no_more_live_keys_than_its_limit(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    answers = await asyncio.gather(*(make(rpc, tenant.id) for _ in range(25)), return_exceptions=True)

    made = [answer for answer in answers if isinstance(answer, CreatedSigningKey)]
    assert len(made) == 20
    assert {answer.data.code for answer in answers if isinstance(answer, RemoteError)} == {"conflict"}
    await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, made[0].signing_key.id))
    await make(rpc, tenant.id)


async def test_keys_are_listed_in_the_order_of_their_creation_revoked_ones_too(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()
    made = [(await make(rpc, tenant.id)).signing_key for _ in range(3)]
    revoked = await rpc.call(REVOKE_TOKENS, RevokeTokens(tenant.id, made[1].id))

    listed = await rpc.call(LIST_SIGNING_KEYS, ListSigningKeys(tenant.id))

    assert listed.signing_keys == [made[0], revoked, made[2]]


async def test_anothers_key_is_no_different_from_a_missing_one(rpc: RpcClient, tenancy: Tenancy) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()
    key = (await make(rpc, theirs.id)).signing_key

    details = set()
    for key_id in (key.id, new_id()):
        with pytest.raises(RemoteError) as caught:
            await rpc.call(REVOKE_TOKENS, RevokeTokens(mine.id, key_id))
        details.add((caught.value.data.status, caught.value.data.detail))

    assert details == {(404, "There is no such signing key.")}
    assert (await rpc.call(LIST_SIGNING_KEYS, ListSigningKeys(mine.id))).signing_keys == []
    await resolve(rpc, key.id)
