"""Emptying the caches of every process, so that nothing cached before is answered afterwards."""

from uuid import UUID

import msgspec

from quarry_common.cache.emptying import empty
from quarry_common.contracts.caches import CacheForgotten
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import FieldError, NotFoundError, ValidationError
from quarry_gateway.domain import TENANT_HEADER, Caller
from quarry_gateway.gateway import Gateway


class CachePurge(msgspec.Struct, frozen=True):
    """What was forgotten, by whom."""

    tenant: str | None
    """Slug of the tenant; null for all of them."""
    answered: int
    instances: list[CacheForgotten]
    memory_entries: int
    redis_entries: int
    complete: bool
    """Whether Redis was gone through to its end, and whoever answered at first answered to the last."""


class Whose(msgspec.Struct, frozen=True):
    """The tenant whose entries are forgotten; None stands for all."""

    tenant_id: UUID | None = None
    slug: str | None = None


async def chosen(gateway: Gateway, caller: Caller, named: str | None) -> Whose:
    """Return whose entries `caller` means, who named a tenant by its slug or none.

    Raises `NotFoundError` for a tenant that is not there or not the caller's own, and `ValidationError` when
    an operator named two.
    """
    if caller.tenant is None:
        if named is None:
            return Whose()
        tenant = await gateway.authenticator.tenant(named)
        return Whose(tenant.id, tenant.slug)
    if named in {None, caller.tenant_slug}:
        return Whose(caller.tenant, caller.tenant_slug)
    if Scope.PLATFORM not in caller.scopes:
        raise NotFoundError("There is no tenant of that slug.")
    raise ValidationError(
        "Two tenants are named.", errors=[FieldError("tenant", f"is not the one in {TENANT_HEADER}")]
    )


async def purge(gateway: Gateway, whose: Whose) -> CachePurge:
    """Empty memory and Redis.

    Raises `UnavailableError` when no search service runs or the bus is away; it may be asked again.
    """
    done = await empty(gateway.rpc, whose.tenant_id)
    return CachePurge(
        tenant=whose.slug,
        answered=done.answered,
        instances=done.instances,
        memory_entries=done.memory_entries,
        redis_entries=done.redis_entries,
        complete=done.complete,
    )
