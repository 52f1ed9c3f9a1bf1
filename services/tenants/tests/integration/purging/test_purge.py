"""A tenant is removed from every store, counted, and nothing else is touched."""

from uuid import UUID

import msgspec
import pytest
from services.tenants.tests.integration.conftest import told, until, working
from services.tenants.tests.integration.purging.conftest import (
    CACHED,
    DELIVERIES,
    DOCUMENTS,
    HOLD,
    Installation,
    purged,
)

from quarry_common.contracts.audit import ListAudit, VerifyAudit
from quarry_common.contracts.events import TenantPurged
from quarry_common.contracts.purging import (
    Purged,
    ReceiptOf,
)
from quarry_common.contracts.tenancy import (
    PLATFORM_TENANT,
    CreateTenant,
    RestoreTenant,
    Tenant,
)
from quarry_common.errors import ConflictError, NotFoundError
from quarry_tenants.handlers.purges import Purges


async def test_a_tenant_is_removed_from_every_store_and_counted(installation: Installation) -> None:
    going, staying = await installation.tenant("going"), await installation.tenant("staying")
    before = await installation.rows(staying), await installation.messages(staying)
    await installation.due(going)
    expected = await installation.expected(going)
    assert all(expected.values())

    async with working(installation.purging()):
        await purged(installation, going)

    receipt = await installation.receipt(going)
    assert receipt.removed == expected
    assert receipt.left.keys() >= expected.keys()
    assert not any(receipt.left.values())
    assert receipt.verified
    assert receipt.requested_at < receipt.started_at < (receipt.finished_at or receipt.started_at)
    assert {table: rows for table, rows in (await installation.rows(going)).items() if rows} == {}
    assert await installation.messages(going) == 0
    assert (await installation.rows(staying), await installation.messages(staying)) == before
    assert installation.elsewhere.documents[staying.id] == DOCUMENTS
    assert installation.elsewhere.deliveries[staying.id] == DELIVERIES
    assert installation.elsewhere.cached[staying.id] == CACHED


async def test_name_and_slug_stay_and_the_slug_stays_taken(installation: Installation) -> None:
    tenant = await installation.tenant("taken")
    await installation.due(tenant)

    async with working(installation.purging()):
        await purged(installation, tenant)

    row = await installation.admin.fetchrow("SELECT * FROM organizations WHERE id = $1", tenant.id)
    assert row is not None
    assert (row["slug"], row["name"], row["state"], row["cors_origins"]) == ("taken", "Taken", "purged", [])
    with pytest.raises(ConflictError, match="is taken"):
        await installation.tenants.create(CreateTenant("taken", "Another"))


async def test_the_installation_is_told_and_its_log_keeps_the_receipt(installation: Installation) -> None:
    tenant = await installation.tenant("told")
    await installation.due(tenant)

    async with working(installation.purging()):
        await purged(installation, tenant)

    receipt = await installation.receipt(tenant)
    events = await told(installation.admin, PLATFORM_TENANT, TenantPurged)
    assert events[-1] == TenantPurged(tenant_id=tenant.id, slug="told")
    log = await installation.audit.list(ListAudit(PLATFORM_TENANT, action="tenant"))
    of_tenant = [entry for entry in log.entries if entry.target == "told"]
    actions = ["tenant.purged", "tenant.purging", "tenant.deleted", "tenant.created"]
    assert [entry.action for entry in of_tenant] == actions
    assert of_tenant[0].after == {
        "removed": receipt.removed,
        "audit_entries": receipt.audit_entries,
        "audit_head_hash": receipt.audit_head_hash,
    }
    assert receipt.requested_at == of_tenant[2].at
    assert (await installation.audit.verify(VerifyAudit(PLATFORM_TENANT))).intact


async def test_the_receipt_keeps_the_head_of_the_tenants_log(installation: Installation) -> None:
    tenant = await installation.tenant("headed")
    await installation.due(tenant)

    async with working(installation.purging(stores=[HOLD])):
        await until(lambda: installation.state(tenant), "purging")
    verdict = await installation.audit.verify(VerifyAudit(tenant.id))
    async with working(installation.purging()):
        await _let_go(installation, tenant)

    receipt = await installation.receipt(tenant)
    assert verdict.intact
    assert (receipt.audit_entries, receipt.audit_head_hash) == (verdict.entries, verdict.head_hash)


async def _let_go(installation: Installation, tenant: Tenant) -> None:
    """Let the other services answer, and the purge not wait any longer."""
    installation.elsewhere.silent_for.discard(tenant.id)

    async def goes_on() -> bool:
        await installation.admin.execute("UPDATE purges SET go_on_at = now() WHERE tenant_id = $1", tenant.id)
        return await installation.state(tenant) == "purged"

    await until(goes_on, True)


async def test_what_comes_late_is_found_and_counted(installation: Installation) -> None:
    tenant = await installation.tenant("late")
    await installation.due(tenant)
    expected = await installation.expected(tenant)
    passes = 0

    async def with_a_late_message(tenant_id: UUID) -> Purged:
        nonlocal passes
        passes += 1
        done = await messages.remove(tenant_id)
        if passes == 1:
            await installation.bus.jetstream().publish(f"evt.v1.{tenant_id}.document.indexed", b"{}")
        return done

    *others, messages = installation.stores
    late = msgspec.structs.replace(messages, remove=with_a_late_message)
    async with working(installation.purging(stores=[*others, late])):
        await purged(installation, tenant)

    removed = (await installation.receipt(tenant)).removed
    # Messages are counted as those that were found there: the relay may publish one while it is looked.
    assert 0 < removed.pop("streams.messages") <= expected.pop("streams.messages") + 1
    assert removed == expected
    assert await installation.messages(tenant) == 0
    assert passes >= 3  # what was found begins the two clean passes anew; the relay may do it once more


async def test_a_service_that_does_not_answer_holds_up_neither_stores_nor_tenants(
    installation: Installation,
) -> None:
    held, other = await installation.tenant("held"), await installation.tenant("not-held")
    installation.elsewhere.silent_for.add(held.id)
    await installation.due(held)
    await installation.due(other)

    async with working(installation.purging()):
        await purged(installation, other)

        async def waits() -> bool:
            return bool(
                await installation.admin.fetchval(
                    "SELECT failures > 0 AND go_on_at > now() FROM purges WHERE tenant_id = $1", held.id
                )
            )

        await until(waits, True)
        receipt = await installation.receipt(held)
        assert {name for name, count in receipt.left.items() if count} == {"no_answer.indexer"}
        assert (receipt.verified, receipt.finished_at) == (False, None)
        assert not any((await installation.rows(held)).values())
        asked = installation.elsewhere.asked[held.id]
        failures = await installation.admin.fetchval(
            "SELECT failures FROM purges WHERE tenant_id = $1", held.id
        )
        assert asked <= failures + 2  # the first round removed rows, so that the second came at once
        await _let_go(installation, held)

    receipt = await installation.receipt(held)
    assert receipt.verified
    assert receipt.removed["vectors.points"] == 3 * DOCUMENTS


async def test_it_wakes_up_when_the_grace_is_over(installation: Installation) -> None:
    tenant = await installation.tenant("on-time")
    await installation.due(tenant, seconds=0.3)

    async with working(installation.purging(look_seconds=600)):
        await until(lambda: installation.state(tenant), "purging", seconds=5)
        await purged(installation, tenant)

    receipt = await installation.receipt(tenant)
    purge_at = await installation.admin.fetchval(
        "SELECT purge_at FROM organizations WHERE id = $1", tenant.id
    )
    assert receipt.started_at >= purge_at


async def test_a_tenant_that_was_restored_is_not_purged(installation: Installation) -> None:
    kept, going = await installation.tenant("kept"), await installation.tenant("goes-first")
    before = {table: len(rows) for table, rows in (await installation.rows(kept)).items()}
    await installation.due(kept)
    await installation.tenants.restore(RestoreTenant(kept.id))
    await installation.due(going)

    async with working(installation.purging()):
        await purged(installation, going)

    assert await installation.state(kept) == "disabled"
    after = {table: len(rows) for table, rows in (await installation.rows(kept)).items()}
    assert all(after[table] >= count for table, count in before.items())
    with pytest.raises(NotFoundError):
        await installation.receipt(kept)


async def test_many_rows_go_in_batches(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarry_tenants.stores.BATCH", 2)
    tenant = await installation.tenant("batched")
    await installation.due(tenant)
    expected = await installation.expected(tenant)

    async with working(installation.purging()):
        await purged(installation, tenant)

    assert (await installation.receipt(tenant)).removed == expected


@pytest.mark.parametrize("slug", ["nobody", "a\0b"])
async def test_there_is_no_receipt_of_who_was_not_purged(installation: Installation, slug: str) -> None:
    with pytest.raises(NotFoundError):
        await Purges(installation.database).receipt(ReceiptOf(slug))
