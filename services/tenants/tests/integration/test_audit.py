"""The audit log: written, read, and what of tampering shows."""

import asyncio
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import pytest

from quarry_common.contracts.audit import (
    LIST_AUDIT,
    RECORD_ACTS,
    VERIFY_AUDIT,
    Actor,
    ActorKind,
    AuditAct,
    AuditEntry,
    AuditOutcome,
    AuditVerdict,
    ListAudit,
    RecordActs,
    VerifyAudit,
)
from quarry_common.contracts.tenancy import PLATFORM_TENANT, Tenant
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

from .conftest import Tenancy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ACTOR = Actor(ActorKind.KEY, new_id(), "192.0.2.7", "req-7")
AT = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


def act(tenant: Tenant, action: str = "document.deleted", target: str = "a", **more: object) -> AuditAct:
    return AuditAct(tenant.id, ACTOR, action, target, **more)  # type: ignore[arg-type]


async def record(rpc: RpcClient, *acts: AuditAct) -> None:
    await rpc.call(RECORD_ACTS, RecordActs(list(acts)))


async def entries(rpc: RpcClient, tenant: Tenant, **narrowed: object) -> list[AuditEntry]:
    asked = ListAudit(tenant.id, **narrowed)  # type: ignore[arg-type]
    return (await rpc.call(LIST_AUDIT, asked)).entries


async def verify(rpc: RpcClient, tenant: Tenant) -> AuditVerdict:
    return await rpc.call(VERIFY_AUDIT, VerifyAudit(tenant.id))


@pytest.fixture
async def tenant(tenancy: Tenancy) -> Tenant:
    """A tenant, whose log has one entry: that it was made."""
    return await tenancy.tenant()


async def test_an_act_of_another_service_is_written_as_it_was_told(rpc: RpcClient, tenant: Tenant) -> None:
    await record(
        rpc,
        act(tenant, target="manuals", outcome=AuditOutcome.DENIED, before={"a": 1}, after={"b": [2]}, at=AT),
    )

    entry = (await entries(rpc, tenant))[0]

    assert (entry.number, entry.at, entry.actor) == (2, AT, ACTOR)
    assert (entry.action, entry.target, entry.outcome) == ("document.deleted", "manuals", AuditOutcome.DENIED)
    assert (entry.before, entry.after) == ({"a": 1}, {"b": [2]})


async def test_acts_of_many_tenants_go_to_their_logs_in_their_order(rpc: RpcClient, tenancy: Tenancy) -> None:
    one, other = await tenancy.tenant(), await tenancy.tenant()

    await record(rpc, act(one, target="1"), act(other, target="2"), act(one, target="3"))

    assert [entry.target for entry in await entries(rpc, one)][:2] == ["3", "1"]
    assert [entry.target for entry in await entries(rpc, other)][:1] == ["2"]


async def test_acts_written_at_once_make_one_chain(rpc: RpcClient, tenant: Tenant) -> None:
    await asyncio.gather(*(record(rpc, act(tenant, target=str(i)), act(tenant)) for i in range(10)))

    verdict = await verify(rpc, tenant)

    assert (verdict.intact, verdict.entries) == (True, 21)


async def test_texts_are_kept_whatever_is_in_them(rpc: RpcClient, tenant: Tenant) -> None:
    facts = {"nul": "a\0b", "escaped": "\\u0000", "both": "\\\0", "snow": "☃"}

    await record(rpc, act(tenant, target="a\0b", after=dict(facts)))

    entry = (await entries(rpc, tenant))[0]
    assert (entry.after, entry.target) == (facts, "ab")
    assert (await verify(rpc, tenant)).intact


async def test_the_log_is_read_in_pages_latest_first(rpc: RpcClient, tenant: Tenant) -> None:
    await record(rpc, *(act(tenant, target=str(i)) for i in range(6)))

    numbers: list[int] = []
    cursor: str | None = None
    while True:
        page = await rpc.call(LIST_AUDIT, ListAudit(tenant.id, limit=3, cursor=cursor))
        numbers += [entry.number for entry in page.entries]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert numbers == [7, 6, 5, 4, 3, 2, 1]


async def test_the_log_is_narrowed_by_action_entity_and_outcome(rpc: RpcClient, tenant: Tenant) -> None:
    await record(
        rpc,
        act(tenant, "key.made"),
        act(tenant, "key.seen", outcome=AuditOutcome.DENIED),
        act(tenant, "keyring.made"),
    )

    async def found(**narrowed: object) -> list[str]:
        return [entry.action for entry in await entries(rpc, tenant, **narrowed)]

    assert await found(action="key.made") == ["key.made"]
    assert await found(action="key") == ["key.seen", "key.made"]
    assert await found(outcome=AuditOutcome.DENIED) == ["key.seen"]
    assert await found(action="key", outcome=AuditOutcome.DONE) == ["key.made"]
    assert await found(action="%") == await found(action="k\0y") == []


async def test_nobody_reads_anothers_log(rpc: RpcClient, tenancy: Tenancy, tenant: Tenant) -> None:
    other = await tenancy.tenant()
    await record(rpc, act(other, "secret.kept"))
    await record(rpc, act(tenant))
    page = await rpc.call(LIST_AUDIT, ListAudit(other.id, limit=1))

    found = (await rpc.call(LIST_AUDIT, ListAudit(tenant.id, cursor=page.next_cursor))).entries

    assert [entry.action for entry in found] == ["tenant.created"]


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 201}, {"cursor": "no cursor"}], ids=lambda asked: next(iter(asked))
)
async def test_a_page_that_is_none_is_refused(
    rpc: RpcClient, tenant: Tenant, asked: dict[str, object]
) -> None:
    with pytest.raises(RemoteError) as caught:
        await entries(rpc, tenant, **asked)

    assert caught.value.data.code == "validation_failed"


async def test_a_request_with_too_many_acts_writes_none(rpc: RpcClient, tenant: Tenant) -> None:
    with pytest.raises(RemoteError):
        await record(rpc, *([act(tenant)] * 501))

    assert len(await entries(rpc, tenant)) == 1


async def test_acts_of_who_is_not_there_stand_in_the_installations_log(rpc: RpcClient) -> None:
    nobody = new_id()

    await record(rpc, AuditAct(nobody, ACTOR, "document.read", "x", after={"title": "whose?"}))

    (entry,) = (await rpc.call(LIST_AUDIT, ListAudit(PLATFORM_TENANT, limit=1))).entries
    assert (entry.action, entry.after) == ("document.read", {"tenant_id": str(nobody)})
    assert (await rpc.call(LIST_AUDIT, ListAudit(nobody))).entries == []


@pytest.fixture
async def written(rpc: RpcClient, tenant: Tenant) -> Tenant:
    """A tenant with five entries."""
    await record(rpc, *(act(tenant, target=str(i), after={"i": i}) for i in range(4)))
    assert (await verify(rpc, tenant)).intact
    return tenant


@pytest.mark.parametrize(
    ("tampering", "first_fault"),
    [
        ("UPDATE audit_entries SET target = 'x' WHERE tenant_id = $1 AND number = 3", 3),
        ("UPDATE audit_entries SET at = at - interval '1 day' WHERE tenant_id = $1 AND number = 5", 5),
        ("UPDATE audit_entries SET outcome = 'denied' WHERE tenant_id = $1 AND number = 1", 1),
        ("DELETE FROM audit_entries WHERE tenant_id = $1 AND number = 3", 3),
        ("DELETE FROM audit_entries WHERE tenant_id = $1 AND number = 5", 5),
        ("DELETE FROM audit_entries WHERE tenant_id = $1", 1),
        ("DELETE FROM audit_heads WHERE tenant_id = $1", 5),
        (
            """
            INSERT INTO audit_entries SELECT tenant_id, 6, at, actor, action, target, outcome, before, after,
                hash, sha256('forged') FROM audit_entries WHERE tenant_id = $1 AND number = 5
            """,
            6,
        ),
    ],
    ids=["changed", "last-changed", "first-changed", "removed", "last-removed", "all", "head", "added"],
)
async def test_tampering_in_the_database_shows(
    rpc: RpcClient, written: Tenant, admin: Connection, tampering: str, first_fault: int
) -> None:
    await admin.execute(tampering, written.id)

    verdict = await verify(rpc, written)

    assert (verdict.intact, verdict.first_fault) == (False, first_fault)
    assert str(first_fault) in verdict.fault


async def test_a_log_rewritten_as_a_whole_shows_by_a_head_kept_elsewhere(
    rpc: RpcClient, written: Tenant, admin: Connection
) -> None:
    kept = await verify(rpc, written)
    # Whoever may write to the database may end the log earlier, head and all.
    await admin.execute("DELETE FROM audit_entries WHERE tenant_id = $1 AND number > 3", written.id)
    await admin.execute(
        """
        UPDATE audit_heads h SET number = e.number, hash = e.hash FROM audit_entries e
        WHERE h.tenant_id = $1 AND e.tenant_id = $1 AND e.number = 3
        """,
        written.id,
    )

    verdict = await verify(rpc, written)

    assert verdict.intact
    assert (verdict.head_number, verdict.head_hash) != (kept.head_number, kept.head_hash)


async def test_a_log_that_is_written_meanwhile_is_intact(rpc: RpcClient, written: Tenant) -> None:
    async def write() -> None:
        for _ in range(20):
            await record(rpc, act(written))

    writing = asyncio.create_task(write())
    verdicts = []
    while not writing.done():
        verdicts.append(await verify(rpc, written))
    await writing

    assert all(verdict.intact for verdict in verdicts)
    assert (await verify(rpc, written)).entries == 25
