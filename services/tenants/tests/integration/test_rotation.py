"""Keys with bounds: made within those of their maker, rotated, verified."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import msgspec
import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import (
    CREATE_KEY,
    GET_KEY,
    LIST_KEYS,
    RESOLVE_KEY,
    REVOKE_KEY,
    ROTATE_KEY,
    VERIFY_KEY,
    CreatedKey,
    CreateKey,
    Grant,
    KeyRef,
    ListKeys,
    Principal,
    ResolveKey,
    RevokeKey,
    RotateKey,
    VerifyKey,
)
from quarry_common.contracts.audit import LIST_AUDIT, ListAudit
from quarry_common.contracts.events import ApiKeyRotated
from quarry_common.contracts.tenancy import TENANT_SCOPES, Scope
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

from .conftest import Tenancy, told

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ADMIN = Grant(TENANT_SCOPES)
BOUNDS = Grant(
    frozenset({Scope.SEARCH, Scope.DOCUMENTS_READ}),
    collections=frozenset({"manuals", "news"}),
    networks=("203.0.113.0/24", "2001:db8::/32"),
    principals=frozenset({"group:sales"}),
)


async def resolve(rpc: RpcClient, made: CreatedKey) -> Principal:
    return await rpc.call(RESOLVE_KEY, ResolveKey(keys.sha256(made.key)))


async def test_a_key_resolves_to_its_bounds(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    asked = CreateKey(tenant.id, "bounded", BOUNDS, ADMIN, requests_per_second=7)

    made = await rpc.call(CREATE_KEY, asked)
    principal = await resolve(rpc, made)

    assert (principal.collections, principal.networks) == (BOUNDS.collections, BOUNDS.networks)
    assert (principal.principals, principal.requests_per_second) == (BOUNDS.principals, 7)
    assert made.api_key.collections == ["manuals", "news"]
    assert await rpc.call(GET_KEY, KeyRef(tenant.id, made.api_key.id)) == made.api_key


async def test_no_key_is_made_beyond_its_makers_bounds(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError, match="collections would go beyond") as caught:
        await rpc.call(CREATE_KEY, CreateKey(tenant.id, "wide", Grant(BOUNDS.scopes), BOUNDS))

    assert caught.value.data.status == 403
    assert (await rpc.call(LIST_KEYS, ListKeys(tenant.id))).keys == []


async def test_a_key_with_no_collections_may_use_none(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    grant = Grant(frozenset({Scope.SEARCH}), collections=frozenset())

    made = await rpc.call(CREATE_KEY, CreateKey(tenant.id, "none", grant, ADMIN))

    assert (await resolve(rpc, made)).collections == frozenset()


async def rotated(rpc: RpcClient, tenancy: Tenancy, overlap_seconds: int) -> tuple[CreatedKey, CreatedKey]:
    tenant = await tenancy.tenant()
    old = await rpc.call(
        CREATE_KEY, CreateKey(tenant.id, "rotates", BOUNDS, ADMIN, metadata={"a": "b"}, requests_per_second=7)
    )
    new = await rpc.call(ROTATE_KEY, RotateKey(tenant.id, old.api_key.id, ADMIN, overlap_seconds))
    return old, new


async def test_the_new_key_may_what_the_old_one_may(rpc: RpcClient, tenancy: Tenancy) -> None:
    old, new = await rotated(rpc, tenancy, 60)

    assert new.key != old.key
    told_apart = {"id", "prefix", "created_at", "rotated_from"}
    for field in msgspec.structs.fields(type(new.api_key)):
        if field.name not in told_apart:
            assert getattr(new.api_key, field.name) == getattr(old.api_key, field.name), field.name
    assert new.api_key.rotated_from == old.api_key.id


async def test_both_keys_go_on_through_the_overlap_counted_on_one_bucket(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    old, new = await rotated(rpc, tenancy, 3_600)

    before, after = await resolve(rpc, old), await resolve(rpc, new)

    assert before.rate_bucket == after.rate_bucket == old.api_key.id
    assert before.expires_at is not None
    assert abs(before.expires_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=5)
    assert after.expires_at is None


async def test_without_overlap_the_old_key_is_refused_at_once(rpc: RpcClient, tenancy: Tenancy) -> None:
    old, new = await rotated(rpc, tenancy, 0)

    assert (await resolve(rpc, new)).key_id == new.api_key.id
    with pytest.raises(RemoteError, match="expired at"):
        await resolve(rpc, old)


async def test_an_overlap_makes_no_key_last_longer(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    expires_at = datetime.now(UTC) + timedelta(minutes=10)
    grant = msgspec.structs.replace(BOUNDS, expires_at=expires_at)
    old = await rpc.call(CREATE_KEY, CreateKey(tenant.id, "short", grant, ADMIN))

    new = await rpc.call(ROTATE_KEY, RotateKey(tenant.id, old.api_key.id, ADMIN, 3_600))

    assert (await resolve(rpc, old)).expires_at == expires_at
    assert new.api_key.expires_at == expires_at


async def test_a_rotation_is_told_and_written_down(
    rpc: RpcClient, tenancy: Tenancy, admin: Connection
) -> None:
    old, new = await rotated(rpc, tenancy, 60)
    principal = await resolve(rpc, old)
    assert principal.tenant_id is not None
    assert principal.expires_at is not None

    (event,) = await told(admin, principal.tenant_id, ApiKeyRotated)
    page = await rpc.call(LIST_AUDIT, ListAudit(principal.tenant_id, action="api_key.rotated"))

    assert event == ApiKeyRotated(
        key_id=old.api_key.id, name="rotates", new_key_id=new.api_key.id, expires_at=principal.expires_at
    )
    assert [entry.target for entry in page.entries] == [str(old.api_key.id)]
    assert page.entries[0].after is not None
    assert page.entries[0].after["id"] == str(new.api_key.id)


async def test_a_key_is_replaced_once(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant(keys=1)
    old = await tenancy.key(tenant.id)

    answers = await asyncio.gather(
        *(rpc.call(ROTATE_KEY, RotateKey(tenant.id, old.api_key.id, ADMIN, 3_600)) for _ in range(5)),
        return_exceptions=True,
    )

    # Otherwise the tenant would have more usable keys than its quota.
    assert sum(isinstance(answer, CreatedKey) for answer in answers) == 1
    assert {a.data.code for a in answers if isinstance(a, RemoteError)} == {"conflict"}
    with pytest.raises(RemoteError) as caught:
        await tenancy.key(tenant.id)
    assert caught.value.data.code == "quota_exceeded"


async def test_under_an_idempotency_key_a_rotation_is_repeated_without_another_key(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant()
    old = await tenancy.key(tenant.id)
    asked = RotateKey(tenant.id, old.api_key.id, ADMIN, 60, idempotency_key="once")

    first, second = await rpc.call(ROTATE_KEY, asked), await rpc.call(ROTATE_KEY, asked)

    assert first == second


async def test_nobody_rotates_a_key_that_may_more(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    strong = await rpc.call(CREATE_KEY, CreateKey(tenant.id, "strong", ADMIN, ADMIN))

    with pytest.raises(RemoteError) as caught:
        await rpc.call(ROTATE_KEY, RotateKey(tenant.id, strong.api_key.id, BOUNDS, 60))

    assert caught.value.data.code == "forbidden"


@pytest.mark.parametrize(
    ("overlap_seconds", "valid"), [(-1, False), (30 * 86_400, True), (30 * 86_400 + 1, False)]
)
async def test_an_overlap_is_at_most_thirty_days(
    rpc: RpcClient, tenancy: Tenancy, overlap_seconds: int, valid: bool
) -> None:
    if valid:
        await rotated(rpc, tenancy, overlap_seconds)
        return
    with pytest.raises(RemoteError) as caught:
        await rotated(rpc, tenancy, overlap_seconds)
    assert [error.field for error in caught.value.data.errors] == ["overlap_seconds"]


async def test_what_is_not_in_use_is_not_rotated(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant, other = await tenancy.tenant(), await tenancy.tenant()
    revoked, of_other = await tenancy.key(tenant.id), await tenancy.key(other.id)
    await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, revoked.api_key.id))

    for key_id, code in (
        (revoked.api_key.id, "conflict"),
        (of_other.api_key.id, "not_found"),
        (new_id(), "not_found"),
    ):
        with pytest.raises(RemoteError) as caught:
            await rpc.call(ROTATE_KEY, RotateKey(tenant.id, key_id, ADMIN, 60))
        assert caught.value.data.code == code


async def test_a_verdict_says_what_a_key_is(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant, other = await tenancy.tenant(), await tenancy.tenant()
    valid, revoked = await tenancy.key(tenant.id), await tenancy.key(tenant.id)
    await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, revoked.api_key.id))
    replaced = await tenancy.key(tenant.id)
    await rpc.call(ROTATE_KEY, RotateKey(tenant.id, replaced.api_key.id, ADMIN, 0))
    of_other = await tenancy.key(other.id)

    verdicts = [
        await rpc.call(VERIFY_KEY, VerifyKey(tenant.id, keys.sha256(text)))
        for text in (valid.key, revoked.key, replaced.key, of_other.key, "nobody's")
    ]

    assert [each.code for each in verdicts] == ["valid", "revoked", "expired", "unknown", "unknown"]
    assert [each.valid for each in verdicts] == [True, False, False, False, False]
    assert [each.api_key is not None for each in verdicts] == [True, True, True, False, False]
    assert verdicts[3] == verdicts[4]
