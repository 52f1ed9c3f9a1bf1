"""Who may do what: pure rules, without HTTP and without I/O."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.jobs import Job, JobDetail
from quarry_common.contracts.tenancy import TENANT_SCOPES, Principal, Scope, Tenant
from quarry_common.errors import FieldError, ForbiddenError, UnauthenticatedError, ValidationError

TENANT_HEADER = "X-Tenant"


class Caller(msgspec.Struct, frozen=True):
    """Who is asking, for which tenant, and what of it is allowed."""

    key_id: UUID
    scopes: frozenset[Scope]
    tenant: UUID | None
    """None for an operator who did not name one."""
    tenant_slug: str | None

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the request is for. Raises `ValidationError` when an operator named none."""
        if self.tenant is None:
            raise ValidationError(
                "An operator's key acts for a tenant that has to be named.",
                errors=[FieldError(TENANT_HEADER, "is missing; send the slug of the tenant to act for")],
            )
        return self.tenant


def caller_of(principal: Principal, *, acting_for: Tenant | None) -> Caller:
    """Return the caller that `principal` is, acting for its own tenant or, as operator, for another."""
    if acting_for is None:
        return Caller(principal.key_id, principal.scopes, principal.tenant_id, principal.tenant_slug)
    return Caller(principal.key_id, principal.scopes | TENANT_SCOPES, acting_for.id, acting_for.slug)


def needs_tenant_lookup(principal: Principal, named: str | None) -> bool:
    """Whether `X-Tenant: named` asks an operator's key to act for a tenant.

    Raises `ForbiddenError` when a tenant's own key names another tenant.
    """
    if named is None or named == principal.tenant_slug:
        return False
    if Scope.PLATFORM not in principal.scopes:
        raise ForbiddenError(
            f"Only an operator's key may send {TENANT_HEADER}.",
            advice=f"Leave {TENANT_HEADER} out: the key belongs to one tenant already.",
        )
    return True


def require_unexpired(principal: Principal) -> None:
    """Raise `UnauthenticatedError` when the principal's key has expired since it was resolved."""
    if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
        raise UnauthenticatedError("The API key has expired.", advice="Make a new key and use that.")


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raise `ForbiddenError` unless the caller holds `scope`."""
    if scope not in caller.scopes:
        raise ForbiddenError(f"The operation needs the scope `{scope.value}`.")


def job_of(detail: JobDetail) -> Job:
    """Return the job without what is told of one alone: its place in the queue and its log."""
    return Job(**{field.name: getattr(detail, field.name) for field in msgspec.structs.fields(Job)})
