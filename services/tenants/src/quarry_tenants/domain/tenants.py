"""Rules of tenants: what may be asked for, and how they go from one state to another."""

import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from quarry_common.contracts.tenancy import (
    CreateTenant,
    QuotaChanges,
    Tenant,
    TenantState,
    UpdateTenant,
    quotas_of,
)
from quarry_common.errors import ConflictError, FieldError
from quarry_tenants.domain.checks import name_errors, refuse

MAX_ORIGINS: Final = 50
MAX_GRACE: Final = timedelta(days=365)

_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?|\*")

REACHED_BY_ALL_SECONDS: Final = 5.0
"""After which no gateway believes any more that a tenant is not disabled."""


def check_new(request: CreateTenant) -> None:
    """Raise `ValidationError` when no such tenant can be made."""
    errors = name_errors(request.name)
    if not _SLUG.fullmatch(request.slug):
        errors.append(
            FieldError(
                "slug", "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or a digit"
            )
        )
    refuse(errors + _origin_errors(request.cors_origins))


def changed(tenant: Tenant, request: UpdateTenant) -> Tenant:
    """Return the tenant as `request` wants it.

    Raises `ValidationError`, and `ConflictError` when the tenant is being deleted.
    """
    errors = [] if request.name is None else name_errors(request.name)
    refuse(errors + _origin_errors(request.cors_origins or []))
    if tenant.state not in {TenantState.ACTIVE, TenantState.DISABLED}:
        raise ConflictError(
            f"The tenant {tenant.slug} is {tenant.state.value}.",
            advice="Restore it first; a tenant that is being purged cannot be kept.",
        )
    state = tenant.state
    if request.disabled is not None:
        state = TenantState.DISABLED if request.disabled else TenantState.ACTIVE
    plan = request.plan or tenant.plan
    changes = tenant.quota_changes if request.quota_changes is None else request.quota_changes
    return msgspec.structs.replace(
        tenant,
        name=tenant.name if request.name is None else request.name,
        plan=plan,
        quota_changes=changes,
        quotas=quotas_of(plan, changes),
        state=state,
        cors_origins=tenant.cors_origins if request.cors_origins is None else request.cors_origins,
    )


def deleted(tenant: Tenant, grace: timedelta, now: datetime) -> Tenant:
    """Return the tenant disabled, to be purged after `grace`.

    Raises `ValidationError`, and `ConflictError` when it is purged or being purged.
    """
    if not timedelta(0) <= grace <= MAX_GRACE:
        refuse([FieldError("grace_seconds", f"must be 0 to {MAX_GRACE.total_seconds():.0f}")])
    if tenant.state in {TenantState.PURGING, TenantState.PURGED}:
        raise ConflictError(
            f"The tenant {tenant.slug} is {tenant.state.value}.", advice="Read the receipt of its purge."
        )
    # Nothing may be written for it any more when its purge begins.
    purge_at = now + max(grace, timedelta(seconds=2 * REACHED_BY_ALL_SECONDS))
    return msgspec.structs.replace(tenant, state=TenantState.DELETING, purge_at=purge_at)


def restored(tenant: Tenant) -> Tenant:
    """Return the tenant kept, and disabled still. Raises `ConflictError` when it is not being deleted."""
    if tenant.state is not TenantState.DELETING:
        raise ConflictError(
            f"The tenant {tenant.slug} is {tenant.state.value}.",
            advice="Only a tenant within its time of grace can be restored.",
        )
    return msgspec.structs.replace(tenant, state=TenantState.DISABLED, purge_at=None)


def purging(tenant: Tenant, now: datetime) -> Tenant | None:
    """Return the tenant with its purge begun, or None when its grace is not over or it was restored."""
    if tenant.state is not TenantState.DELETING or tenant.purge_at is None or tenant.purge_at > now:
        return None
    return msgspec.structs.replace(tenant, state=TenantState.PURGING)


def purged(tenant: Tenant) -> Tenant:
    """Return what is kept of a tenant: its slug stays taken, and its name tells whose the receipt is."""
    return msgspec.structs.replace(
        tenant,
        state=TenantState.PURGED,
        quota_changes=QuotaChanges(),
        quotas=quotas_of(tenant.plan, QuotaChanges()),
        cors_origins=[],
    )


def differences(before: Tenant, after: Tenant) -> list[str]:
    """Return the names of the fields in which the two differ."""
    return [
        field.name
        for field in msgspec.structs.fields(Tenant)
        if getattr(before, field.name) != getattr(after, field.name)
    ]


def _origin_errors(origins: list[str]) -> list[FieldError]:
    if len(origins) > MAX_ORIGINS:
        return [FieldError("cors_origins", f"must be at most {MAX_ORIGINS}")]
    return [
        FieldError(
            f"cors_origins[{index}]",
            "must be scheme, host and port of a page in small letters, without a path, or *",
        )
        for index, origin in enumerate(origins)
        if not _ORIGIN.fullmatch(origin)
    ]
