"""What becomes of tenants."""

from datetime import UTC, datetime
from typing import ClassVar, Final
from uuid import UUID

from quarry_common.contracts.events.base import NO_WEBHOOKS, EventData, Moment, Way
from quarry_common.contracts.tenancy import TenantState


class _TenantEvent(EventData, frozen=True):
    tenant_id: UUID
    slug: str

    @property
    def subject_id(self) -> str:
        return str(self.tenant_id)


class TenantCreated(_TenantEvent, frozen=True):
    """There is a new tenant."""

    type: ClassVar[str] = "tenant.created"
    name: str


class TenantUpdated(_TenantEvent, frozen=True):
    """A tenant was changed; `changed` names what, such as `plan`, `quotas`, `state` or `domains`."""

    type: ClassVar[str] = "tenant.updated"
    changed: list[str]
    state: TenantState


class TenantDeleted(_TenantEvent, frozen=True):
    """A tenant is disabled, and purged at `purge_at` unless it is restored."""

    type: ClassVar[str] = "tenant.deleted"
    purge_at: Moment


class TenantPurged(_TenantEvent, frozen=True):
    """Nothing is left of a tenant. It is told to the installation: the tenant has no stream any more."""

    type: ClassVar[str] = "tenant.purged"
    ways: ClassVar[frozenset[Way]] = NO_WEBHOOKS  # the installation has none
    of_installation: ClassVar[bool] = True


_TENANT: Final = UUID("01931c2e-70aa-7f10-8d3c-9b1e6a4f2c55")

EXAMPLES: Final = (
    TenantCreated(_TENANT, "acme", "Acme Ltd"),
    TenantUpdated(_TENANT, "acme", ["plan", "quotas"], TenantState.ACTIVE),
    TenantDeleted(_TENANT, "acme", datetime(2027, 1, 31, 9, 30, tzinfo=UTC)),
    TenantPurged(_TENANT, "acme"),
)
"""One of each type."""
