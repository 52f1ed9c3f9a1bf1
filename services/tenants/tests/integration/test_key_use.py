"""How keys are used, and what is unusual in it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import asyncpg
import pytest

from quarry_common.contracts.api_keys import (
    GET_KEY,
    KEY_USAGE,
    REPORT_KEY_USE,
    KeyDay,
    KeyRef,
    KeyTally,
    KeyUsage,
    ReportKeyUse,
)
from quarry_common.contracts.audit import LIST_AUDIT, ActorKind, ListAudit
from quarry_common.contracts.events import ApiKeyAnomalyDetected
from quarry_common.errors import RemoteError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

from .conftest import Tenancy, told

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Key:
    """A key of a tenant, and gateways that tell of its use."""

    def __init__(self, rpc: RpcClient, tenant_id: UUID, key_id: UUID) -> None:
        self._rpc = rpc
        self.tenant_id = tenant_id
        self.id = key_id

    def tally(self, requests: int, denied: int = 0, *, days_ago: int = 0) -> KeyTally:
        at = datetime.now(UTC) - timedelta(days=days_ago)
        return KeyTally(self.tenant_id, self.id, at.date(), requests, denied, at)

    async def used(self, requests: int, denied: int = 0, *, days_ago: int = 0) -> None:
        await report(self._rpc, self.tally(requests, denied, days_ago=days_ago))

    async def usage(self) -> KeyUsage:
        return await self._rpc.call(KEY_USAGE, KeyRef(self.tenant_id, self.id))


async def report(rpc: RpcClient, *tallies: KeyTally, report_id: UUID | None = None) -> None:
    await rpc.call(REPORT_KEY_USE, ReportKeyUse(report_id or new_id(), list(tallies)))


@pytest.fixture
async def key(rpc: RpcClient, tenancy: Tenancy) -> Key:
    tenant = await tenancy.tenant()
    return Key(rpc, tenant.id, (await tenancy.key(tenant.id, "watched")).api_key.id)


async def test_uses_of_many_gateways_are_added_by_day_latest_first(key: Key) -> None:
    today, before = key.tally(3, 1), key.tally(5, days_ago=2)

    await key.used(3, 1)
    await key.used(5, days_ago=2)
    await key.used(4)

    assert (await key.usage()).days == [KeyDay(today.day, 7, 1), KeyDay(before.day, 5, 0)]


async def test_a_report_that_comes_again_counts_once(rpc: RpcClient, key: Key) -> None:
    report_id = new_id()

    for _ in range(3):
        await report(rpc, key.tally(2), report_id=report_id)

    assert [day.requests for day in (await key.usage()).days] == [2]


async def test_keys_of_many_tenants_are_counted_by_one_report(
    rpc: RpcClient, tenancy: Tenancy, key: Key, admin: Connection
) -> None:
    tenant = await tenancy.tenant()
    other = Key(rpc, tenant.id, (await tenancy.key(tenant.id, "other")).api_key.id)
    await admin.execute(
        "UPDATE api_keys SET last_used_at = now() - interval '40 days' WHERE id = ANY ($1)",
        [key.id, other.id],
    )

    await report(rpc, key.tally(2), other.tally(3, 1), key.tally(4, days_ago=1))

    assert [(day.requests, day.denied) for day in (await key.usage()).days] == [(2, 0), (4, 0)]
    assert [(day.requests, day.denied) for day in (await other.usage()).days] == [(3, 1)]
    for woken in (key, other):
        events = await told(admin, woken.tenant_id, ApiKeyAnomalyDetected)
        assert [(event.key_id, event.anomaly) for event in events] == [(woken.id, "dormant_key_used")]


async def test_the_last_use_never_goes_back(rpc: RpcClient, key: Key) -> None:
    latest = key.tally(1)
    await report(rpc, latest)

    await key.used(1, days_ago=1)

    assert (await key.usage()).last_used_at == latest.last_used_at
    assert (await rpc.call(GET_KEY, KeyRef(key.tenant_id, key.id))).last_used_at == latest.last_used_at


async def test_days_are_shown_for_ninety_days(key: Key) -> None:
    for days_ago in (89, 90):
        await key.used(days_ago, days_ago=days_ago)

    assert [day.requests for day in (await key.usage()).days] == [89]


async def test_what_is_told_of_keys_that_are_not_there_is_dropped(
    rpc: RpcClient, tenancy: Tenancy, key: Key, admin: Connection
) -> None:
    other = await tenancy.tenant()
    lost = Key(rpc, key.tenant_id, new_id())
    of_another = Key(rpc, other.id, key.id)
    of_nobody = Key(rpc, new_id(), new_id())

    await report(rpc, lost.tally(1), of_another.tally(1), key.tally(1), of_nobody.tally(1))

    assert [day.requests for day in (await key.usage()).days] == [1]
    days = await admin.fetch(
        "SELECT key_id FROM key_days WHERE tenant_id = ANY ($1)",
        [key.tenant_id, other.id, of_nobody.tenant_id],
    )
    assert [row["key_id"] for row in days] == [key.id]


async def test_the_use_of_anothers_key_is_no_different_from_that_of_a_missing_one(
    rpc: RpcClient, tenancy: Tenancy, key: Key
) -> None:
    other = await tenancy.tenant()

    for key_id in (key.id, new_id()):
        with pytest.raises(RemoteError) as caught:
            await rpc.call(KEY_USAGE, KeyRef(other.id, key_id))
        assert caught.value.data.detail == "There is no such key."


async def test_a_dormant_key_that_wakes_is_told_of_once_and_written_down(
    rpc: RpcClient, key: Key, admin: Connection
) -> None:
    await admin.execute("UPDATE api_keys SET last_used_at = now() - interval '31 days' WHERE id = $1", key.id)

    await report(rpc, key.tally(1))
    await report(rpc, key.tally(1))

    events = await told(admin, key.tenant_id, ApiKeyAnomalyDetected)
    assert [(event.key_id, event.name, event.anomaly) for event in events] == [
        (key.id, "watched", "dormant_key_used")
    ]
    assert "31 days before" in events[0].detail
    written = await rpc.call(LIST_AUDIT, ListAudit(key.tenant_id, action="api_key.anomaly_detected"))
    assert [(entry.target, entry.actor.kind) for entry in written.entries] == [
        (str(key.id), ActorKind.SYSTEM)
    ]
    assert written.entries[0].after == {"anomaly": "dormant_key_used", "detail": events[0].detail}


async def test_a_key_that_was_never_used_is_dormant_since_it_was_made(key: Key, admin: Connection) -> None:
    await admin.execute("UPDATE api_keys SET created_at = now() - interval '30 days' WHERE id = $1", key.id)

    await key.used(1)

    events = await told(admin, key.tenant_id, ApiKeyAnomalyDetected)
    assert [event.anomaly for event in events] == ["dormant_key_used"]


async def test_a_spike_of_denials_is_told_of_once_a_day(key: Key, admin: Connection) -> None:
    for days_ago in range(1, 8):
        await key.used(10, 5, days_ago=days_ago)
    for _ in range(4):
        await key.used(10, 6)
    assert await told(admin, key.tenant_id, ApiKeyAnomalyDetected) == []

    for _ in range(3):
        await key.used(10, 1)

    events = await told(admin, key.tenant_id, ApiKeyAnomalyDetected)
    assert [event.anomaly for event in events] == ["denials_spiked"]
    assert "25 requests were denied" in events[0].detail


async def test_reports_of_one_key_at_once_lose_nothing(rpc: RpcClient, key: Key, admin: Connection) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(key.used(3, 3))

    assert [(day.requests, day.denied) for day in (await key.usage()).days] == [(60, 60)]
    assert len(await told(admin, key.tenant_id, ApiKeyAnomalyDetected)) == 1
