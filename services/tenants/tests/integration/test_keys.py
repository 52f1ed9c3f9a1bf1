import asyncio
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import asyncpg
import msgspec
import pytest

from quarry_common import keys
from quarry_common.contracts.api_keys import (
    CREATE_KEY,
    LIST_KEYS,
    RESOLVE_KEY,
    REVOKE_KEY,
    ApiKey,
    CreatedKey,
    CreateKey,
    Grant,
    KeyLabel,
    ListKeys,
    Principal,
    ResolveKey,
    RevokeKey,
)
from quarry_common.contracts.tenancy import TENANT_SCOPES, Scope
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

from .conftest import Tenancy

SEARCH = frozenset({Scope.SEARCH})
ADMIN = Grant(TENANT_SCOPES)
NAIVE = datetime(2050, 1, 1)  # noqa: DTZ001 - what is refused
LATEST = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))


async def resolve(rpc: RpcClient, key: str) -> Principal:
    return await rpc.call(RESOLVE_KEY, ResolveKey(keys.parse(key).sha256))


async def test_a_key_resolves_to_its_tenant_and_scopes(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    scopes = frozenset({Scope.SEARCH, Scope.DOCUMENTS_READ})

    made = await rpc.call(
        CREATE_KEY,
        CreateKey(
            tenant.id,
            "reader",
            Grant(scopes, expires_at=expires_at),
            ADMIN,
            KeyLabel.TEST,
            {"team": 'a "quoted" ☃'},
        ),
    )
    principal = await resolve(rpc, made.key)

    assert principal == Principal(
        made.api_key.id,
        tenant.id,
        tenant.slug,
        scopes,
        expires_at,
        rate_bucket=made.api_key.id,
        quotas=tenant.quotas,
    )
    assert made.key.startswith("qk_test_")
    assert made.key.startswith(made.api_key.prefix)
    assert made.api_key.metadata == {"team": 'a "quoted" ☃'}


async def test_the_text_of_a_key_is_stored_nowhere(
    rpc: RpcClient, tenancy: Tenancy, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant = await tenancy.tenant()

    made = await tenancy.key(tenant.id)

    secret = made.key.removeprefix(made.api_key.prefix)
    for table in ("organizations", "api_keys", "operator_keys", "outbox"):
        texts = await admin.fetch(f"SELECT {table}::text AS text FROM {table}")
        assert not [row for row in texts if secret in row["text"] or secret.encode().hex() in row["text"]]
    stored = await admin.fetchval("SELECT key_sha256 FROM api_keys WHERE id = $1", made.api_key.id)
    assert stored == keys.parse(made.key).sha256


async def test_a_key_cannot_grant_what_its_maker_lacks(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError) as caught:
        await rpc.call(
            CREATE_KEY, CreateKey(tenant.id, "more", Grant(SEARCH | {Scope.KEYS_WRITE}), Grant(SEARCH))
        )

    assert caught.value.data.status == 403
    assert "keys:write" in caught.value.data.detail


async def test_the_operator_may_grant_every_scope_of_a_tenant(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    made = await rpc.call(CREATE_KEY, CreateKey(tenant.id, "all", ADMIN, Grant(frozenset({Scope.PLATFORM}))))

    assert frozenset(made.api_key.scopes) == TENANT_SCOPES


async def test_no_key_of_a_tenant_has_the_platform_scope(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()

    with pytest.raises(RemoteError) as caught:
        await rpc.call(
            CREATE_KEY,
            CreateKey(tenant.id, "root", Grant(frozenset({Scope.PLATFORM})), Grant(frozenset(Scope))),
        )

    assert caught.value.data.code == "validation_failed"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "x" * 201}),
        ("name", {"name": "a\0b"}),
        ("scopes", {"grant": Grant(frozenset())}),
        ("expires_at", {"grant": Grant(SEARCH, expires_at=datetime(2020, 1, 1, tzinfo=UTC))}),
        ("expires_at", {"grant": Grant(SEARCH, expires_at=NAIVE)}),
        ("expires_at", {"grant": Grant(SEARCH, expires_at=LATEST)}),
        ("networks[1]", {"grant": Grant(SEARCH, networks=("10.0.0.0/8", "10.0.0.1/8"))}),
        ("collections", {"grant": Grant(SEARCH, collections=frozenset({""}))}),
        ("principals", {"grant": Grant(SEARCH, principals=frozenset({"a\0b"}))}),
        ("requests_per_second", {"requests_per_second": 0}),
        ("metadata", {"metadata": {str(i): "" for i in range(51)}}),
        ("metadata.", {"metadata": {"": "x"}}),
        ("metadata.long", {"metadata": {"long": "x" * 501}}),
        ("metadata.nul", {"metadata": {"nul": "a\0b"}}),
        ("metadata.a?b", {"metadata": {"a\0b": "x"}}),
    ],
)
async def test_a_wrong_field_is_named(
    rpc: RpcClient, tenancy: Tenancy, field: str, change: dict[str, object]
) -> None:
    tenant = await tenancy.tenant()
    request = CreateKey(tenant.id, "fine", Grant(SEARCH), ADMIN)

    with pytest.raises(RemoteError) as caught:
        await rpc.call(CREATE_KEY, msgspec.structs.replace(request, **change))

    assert caught.value.data.code == "validation_failed"
    assert [error.field for error in caught.value.data.errors] == [field]


async def test_a_key_for_a_tenant_that_is_not_there_is_not_made(rpc: RpcClient) -> None:
    with pytest.raises(RemoteError) as caught:
        await rpc.call(CREATE_KEY, CreateKey(new_id(), "lost", Grant(SEARCH), ADMIN))

    assert caught.value.data.code == "not_found"


async def test_a_revoked_key_is_refused_and_says_so(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)

    revoked = await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, made.api_key.id))

    assert revoked.revoked_at is not None
    with pytest.raises(RemoteError, match="was revoked at") as caught:
        await resolve(rpc, made.key)
    assert caught.value.data.status == 401


async def test_revoking_twice_is_harmless(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)

    first = await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, made.api_key.id))
    second = await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, made.api_key.id))

    assert first == second


async def test_an_expired_key_is_refused_and_says_so(
    rpc: RpcClient, tenancy: Tenancy, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)
    await admin.execute(
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1", made.api_key.id
    )

    with pytest.raises(RemoteError, match="expired at") as caught:
        await resolve(rpc, made.key)
    assert caught.value.data.code == "unauthenticated"


async def test_a_disabled_tenants_keys_are_refused_and_none_is_made(
    rpc: RpcClient, tenancy: Tenancy, admin: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant = await tenancy.tenant()
    made = await tenancy.key(tenant.id)
    await admin.execute("UPDATE organizations SET state = 'disabled' WHERE id = $1", tenant.id)

    with pytest.raises(RemoteError, match=f"{tenant.slug} is disabled") as caught:
        await resolve(rpc, made.key)
    assert caught.value.data.code == "unauthenticated"
    with pytest.raises(RemoteError, match=f"{tenant.slug} is disabled") as caught:
        await tenancy.key(tenant.id)
    assert caught.value.data.status == 403


@pytest.mark.parametrize("key_sha256", [b"", b"x", keys.sha256("nobody's")])
async def test_an_unknown_key_is_refused(rpc: RpcClient, key_sha256: bytes) -> None:
    with pytest.raises(RemoteError, match="not known here") as caught:
        await rpc.call(RESOLVE_KEY, ResolveKey(key_sha256))

    assert caught.value.data.status == 401


async def test_pages_hold_every_key_once_in_the_order_of_creation(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant()
    made = [(await tenancy.key(tenant.id, f"key {i}")).api_key for i in range(5)]

    found: list[ApiKey] = []
    page = await rpc.call(LIST_KEYS, ListKeys(tenant.id, limit=2))
    found += page.keys
    while page.next_cursor:
        page = await rpc.call(LIST_KEYS, ListKeys(tenant.id, limit=2, cursor=page.next_cursor))
        found += page.keys

    assert found == made


async def test_a_tenant_has_no_more_keys_than_its_limit_however_they_are_asked_for(
    rpc: RpcClient, tenancy: Tenancy
) -> None:
    tenant = await tenancy.tenant(keys=40)

    answers = await asyncio.gather(*(tenancy.key(tenant.id) for _ in range(50)), return_exceptions=True)

    assert sum(isinstance(answer, CreatedKey) for answer in answers) == 40
    assert {a.data.code for a in answers if isinstance(a, RemoteError)} == {"quota_exceeded"}


async def test_a_revoked_key_makes_room_for_another(rpc: RpcClient, tenancy: Tenancy) -> None:
    tenant = await tenancy.tenant(keys=40)
    made = await asyncio.gather(*(tenancy.key(tenant.id) for _ in range(40)))

    await rpc.call(REVOKE_KEY, RevokeKey(tenant.id, made[0].api_key.id))

    assert (await tenancy.key(tenant.id, "one more")).api_key.name == "one more"


async def test_anothers_key_is_no_different_from_a_missing_one(rpc: RpcClient, tenancy: Tenancy) -> None:
    mine, theirs = await tenancy.tenant(), await tenancy.tenant()
    made = await tenancy.key(theirs.id)

    async def answer(key_id: UUID) -> str:
        with pytest.raises(RemoteError) as caught:
            await rpc.call(REVOKE_KEY, RevokeKey(mine.id, key_id))
        return msgspec.json.encode(caught.value.data).decode()

    assert await answer(made.api_key.id) == await answer(new_id())
    assert (await resolve(rpc, made.key)).tenant_id == theirs.id
    assert (await rpc.call(LIST_KEYS, ListKeys(mine.id))).keys == []
