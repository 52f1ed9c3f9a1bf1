"""Nothing comes back of a tenant whose purge has begun."""

from datetime import UTC, datetime

import asyncpg
import pytest
from services.tenants.tests.integration.conftest import until, working
from services.tenants.tests.integration.purging.conftest import (
    GRACE,
    HOLD,
    Installation,
    purged,
)

from quarry_common.contracts.api_keys import (
    CreateKey,
    Grant,
    KeyTally,
    ReportKeyUse,
    RevokeKey,
)
from quarry_common.contracts.audit import Actor, AuditAct, ListAudit, RecordActs
from quarry_common.contracts.tenancy import (
    PLATFORM_TENANT,
    TENANT_SCOPES,
    DeleteTenant,
    RestoreTenant,
    UpdateTenant,
)
from quarry_common.contracts.usage import ReportSearches, SearchTally
from quarry_common.errors import ConflictError, ForbiddenError, NotFoundError
from quarry_common.ids import new_id
from quarry_tenants.handlers.key_use import KeyUse
from quarry_tenants.handlers.searches import Searches


async def test_nothing_is_written_for_a_tenant_whose_purge_has_begun(installation: Installation) -> None:
    tenant = await installation.tenant("begun")
    key_id = await installation.admin.fetchval(
        "SELECT id FROM api_keys WHERE tenant_id = $1 LIMIT 1", tenant.id
    )
    await installation.due(tenant)
    grant, now = Grant(TENANT_SCOPES), datetime.now(UTC)

    async with working(installation.purging(stores=[HOLD])):
        await until(lambda: installation.state(tenant), "purging")
    before = await installation.rows(tenant)

    with pytest.raises(NotFoundError):
        await installation.keys.revoke(RevokeKey(tenant.id, key_id))
    with pytest.raises(ForbiddenError):
        await installation.keys.create(CreateKey(tenant.id, "late", grant, grant, idempotency_key="late"))
    for refused in (
        installation.tenants.restore(RestoreTenant(tenant.id)),
        installation.tenants.delete(DeleteTenant(tenant.id)),
        installation.tenants.update(UpdateTenant(tenant.id, disabled=False)),
    ):
        with pytest.raises(ConflictError, match="is purging"):
            await refused
    tally = KeyTally(tenant.id, key_id, now.date(), 1, 0, now)
    await KeyUse(installation.database, GRACE).report(ReportKeyUse(new_id(), [tally]))
    answered = ReportSearches(new_id(), [SearchTally(tenant.id, now.date(), None, 1)])
    await Searches(installation.database).report(answered)
    act = AuditAct(tenant.id, Actor(), "document.deleted", "a document", before={"title": "secret"})
    await installation.audit.record(RecordActs([act]))

    assert await installation.rows(tenant) == before
    kept = (await installation.audit.list(ListAudit(PLATFORM_TENANT, limit=1))).entries[0]
    assert (kept.action, kept.target) == ("document.deleted", "a document")
    assert (kept.before, kept.after) == (None, {"tenant_id": str(tenant.id)})


async def test_the_tables_themselves_refuse_what_comes_late(installation: Installation) -> None:
    tenant = await installation.tenant("guarded")
    await installation.admin.execute("UPDATE organizations SET state = 'purged' WHERE id = $1", tenant.id)

    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        async with installation.database.tenant_transaction(tenant.id) as connection:
            await connection.execute(
                "INSERT INTO domains (tenant_id, name, token) VALUES ($1, 'late', 't')", tenant.id
            )

    guarded = await installation.admin.fetch(
        "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = 'refuse_when_purged'"
    )
    # What is answered under an idempotency key comes with rows of the others.
    assert {row["name"] for row in guarded} == {*await installation.tables()} - {"idempotency_keys"}


async def test_a_purge_begins_when_who_writes_has_ended(installation: Installation) -> None:
    tenant = await installation.tenant("awaited")
    await installation.due(tenant)
    expected = await installation.expected(tenant)
    expected["postgres.tenants.search_days"] += 1

    async def waits() -> bool:
        return bool(
            await installation.admin.fetchval(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND datname = current_database()
                """
            )
        )

    async with installation.database.tenant_transaction(tenant.id) as connection:
        await connection.execute(
            "INSERT INTO search_days (tenant_id, day) VALUES ($1, '2020-01-01')", tenant.id
        )
        working_on = working(installation.purging())
        await working_on.__aenter__()
        await until(waits, True)
        assert await installation.state(tenant) == "deleting"
    await purged(installation, tenant)
    await working_on.__aexit__(None, None, None)

    assert (await installation.receipt(tenant)).removed == expected
