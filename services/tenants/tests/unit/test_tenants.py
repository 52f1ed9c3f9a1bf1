"""How a tenant goes from one state to the next."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from quarry_common.contracts.tenancy import (
    PLAN_QUOTAS,
    Plan,
    QuotaChanges,
    Tenant,
    TenantState,
    UpdateTenant,
    quotas_of,
)
from quarry_common.errors import ConflictError
from quarry_common.ids import new_id
from quarry_tenants.domain import tenants

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
CHANGES = QuotaChanges(keys=7)
TENANT = Tenant(
    id=new_id(),
    slug="acme",
    name="Acme",
    plan=Plan.STARTER,
    quotas=quotas_of(Plan.STARTER, CHANGES),
    quota_changes=CHANGES,
    state=TenantState.ACTIVE,
    created_at=NOW,
    cors_origins=["https://a.example"],
)


def at(state: TenantState, purge_at: datetime | None = None) -> Tenant:
    return msgspec.structs.replace(TENANT, state=state, purge_at=purge_at)


@pytest.mark.parametrize("state", [TenantState.ACTIVE, TenantState.DISABLED, TenantState.DELETING])
def test_a_tenant_that_is_there_can_be_deleted(state: TenantState) -> None:
    deleted = tenants.deleted(at(state), timedelta(days=1), NOW)

    assert (deleted.state, deleted.purge_at) == (TenantState.DELETING, NOW + timedelta(days=1))


def test_a_purge_begins_when_the_grace_is_over_and_not_before() -> None:
    assert tenants.purging(at(TenantState.DELETING, NOW + MOMENT), NOW) is None
    begun = tenants.purging(at(TenantState.DELETING, NOW), NOW)
    assert begun is not None
    assert begun.state is TenantState.PURGING


@pytest.mark.parametrize("state", set(TenantState) - {TenantState.DELETING})
def test_of_no_other_state_a_purge_begins(state: TenantState) -> None:
    assert tenants.purging(at(state, NOW), NOW) is None


@pytest.mark.parametrize("state", set(TenantState) - {TenantState.DELETING})
def test_only_who_is_being_deleted_can_be_restored(state: TenantState) -> None:
    with pytest.raises(ConflictError):
        tenants.restored(at(state))


@pytest.mark.parametrize("state", [TenantState.PURGING, TenantState.PURGED])
def test_a_purge_cannot_be_put_off_or_turned_back(state: TenantState) -> None:
    with pytest.raises(ConflictError):
        tenants.deleted(at(state), timedelta(days=1), NOW)
    with pytest.raises(ConflictError):
        tenants.changed(at(state), UpdateTenant(TENANT.id, disabled=False))


def test_of_a_purged_tenant_its_names_are_kept() -> None:
    purged = tenants.purged(at(TenantState.PURGING, NOW))

    assert (purged.slug, purged.name, purged.state) == ("acme", "Acme", TenantState.PURGED)
    assert (purged.cors_origins, purged.quotas) == ([], PLAN_QUOTAS[Plan.STARTER])
