"""Emptying the caches of every process, so that nothing cached before is answered afterwards."""

from uuid import UUID

import msgspec

from quarry_common.contracts.caches import FORGET, PURGE_REDIS, ForgetCached, Forgotten, PurgeRedis
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import FieldError, NotFoundError, ValidationError
from quarry_common.ids import new_id
from quarry_gateway.domain import TENANT_HEADER, Caller
from quarry_gateway.gateway import Gateway

GATHER_SECONDS = 0.5
"""For which answers of all processes are awaited: one that takes longer is taken for absent."""
PURGE_SECONDS = 32.0
"""The cache itself gives up after half a minute."""


class CachePurge(msgspec.Struct, frozen=True):
    """What was forgotten, by whom."""

    tenant: str | None
    """Slug of the tenant; null for all of them."""
    answered: int
    instances: list[Forgotten]
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

    Everybody forgets, then Redis is emptied, then everybody forgets what was found in it meanwhile.
    Raises `UnavailableError` when no search service runs or the bus is away; it may be asked again.
    """
    asked = ForgetCached(whose.tenant_id, new_id())
    before = await gateway.rpc.gather(FORGET, asked, seconds=GATHER_SECONDS)
    removed = await gateway.ask(PURGE_REDIS, PurgeRedis(asked.tenant_id), PURGE_SECONDS)
    after = await gateway.rpc.gather(FORGET, asked, seconds=GATHER_SECONDS)
    return CachePurge(
        tenant=whose.slug,
        answered=len(after),
        instances=_together(before, after),
        memory_entries=sum(each.entries for each in (*before, *after)),
        redis_entries=removed.entries,
        complete=removed.complete and _names(before) <= _names(after),
    )


def _names(told: list[Forgotten]) -> set[tuple[str, str]]:
    return {(each.service, each.instance) for each in told}


def _together(before: list[Forgotten], after: list[Forgotten]) -> list[Forgotten]:
    entries = dict.fromkeys(sorted(_names(before) | _names(after)), 0)
    for each in (*before, *after):
        entries[each.service, each.instance] += each.entries
    return [Forgotten(service, instance, count) for (service, instance), count in entries.items()]
