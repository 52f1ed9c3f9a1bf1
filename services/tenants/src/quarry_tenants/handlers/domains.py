"""Custom domains: claimed, looked up, listed, given up; and whose a host is."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.audit import Actor, AuditAct, Facts
from quarry_common.contracts.domains import (
    Domain,
    DomainRef,
    Domains,
    DomainsOf,
    DomainState,
    HostTenant,
    ResolveHost,
)
from quarry_common.contracts.events import TenantUpdated
from quarry_common.errors import ConflictError, NotFoundError
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import domains as rules
from quarry_tenants.domain.domains import Lookup, StoredDomain
from quarry_tenants.handlers import SERVICE
from quarry_tenants.handlers.active import active
from quarry_tenants.repository import audit, tenants
from quarry_tenants.repository import domains as repository
from quarry_tenants.txt_records import TxtResolver


class DomainHandlers:
    """Answers on one database. Names that are or end in one of `reserved` are nobody's to claim."""

    def __init__(self, database: Database, resolver: TxtResolver, reserved: Sequence[str] = ()) -> None:
        self._database = database
        self._resolver = resolver
        self._reserved = reserved

    async def register(self, request: DomainRef) -> Domain:
        """Claim a name and return the record that proves it; a claim that was made before stays as it is.

        Raises `ValidationError`, `NotFoundError`, `ForbiddenError` when the tenant is disabled, and
        `ConflictError` when it may have no more.
        """
        name = rules.canonical(request.name, self._reserved)

        async def make(connection: Connection) -> Domain:
            tenant = await active(connection, request.tenant_id)
            claimed = await repository.of_tenant(connection, tenant.id)
            if before := next((one for one in claimed if one.name == name), None):
                return rules.told(before)
            rules.check_room(len(claimed))
            made = await repository.add(connection, tenant.id, name, rules.new_token())
            await _tell(connection, request.actor, tenant.id, "domain.registered", None, made)
            return rules.told(made)

        asked = fingerprint("register_domain", request.tenant_id, name)
        made, _ = await once(self._database, request.tenant_id, request.idempotency_key, asked, Domain, make)
        return made

    async def check(self, request: DomainRef) -> Domain:
        """Look for the record of a claim now and return what became of it.

        Raises `NotFoundError`, and `ConflictError` when the name is verified for another tenant.
        """
        name = rules.canonical(request.name)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if await repository.find(connection, request.tenant_id, name) is None:
                raise _missing()
        # Not within a transaction: the DNS may take its time.
        lookup = await self._resolver.look_up(rules.record_name(name))

        async def store(connection: Connection) -> Domain:
            after = await settle(connection, request.tenant_id, name, lookup, request.actor)
            if after is None:
                raise _missing()
            if after.problem == rules.TAKEN:
                raise ConflictError(
                    "The name is verified for another tenant of this installation.",
                    advice="Have that tenant remove it, or take its record out of the DNS: it lapses then.",
                )
            return rules.told(after)

        asked = fingerprint("check_domain", request.tenant_id, name)
        checked, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, asked, Domain, store
        )
        return checked

    async def list(self, request: DomainsOf) -> Domains:
        """Return a tenant's claims by name. Raises `NotFoundError` when there is no such tenant."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if await tenants.find(connection, request.tenant_id) is None:
                raise NotFoundError("There is no such tenant.")
            found = await repository.of_tenant(connection, request.tenant_id)
        return Domains([rules.told(domain) for domain in found])

    async def remove(self, request: DomainRef) -> Domain:
        """Give a name up and return the claim as it was. Raises `NotFoundError`."""
        name = rules.canonical(request.name)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            removed = await repository.remove(connection, request.tenant_id, name)
            if removed is None:
                raise _missing()
            await _tell(connection, request.actor, request.tenant_id, "domain.removed", removed, None)
        return rules.told(removed)

    async def resolve_host(self, request: ResolveHost) -> HostTenant:
        """Return the active tenant whose verified domain the host is. Raises `NotFoundError`."""
        name = rules.host_name(request.host)
        if name is not None:
            async with self._database.worker_transaction() as worker:
                if found := await repository.host(worker, name):
                    return found
        raise NotFoundError("The host is no domain of a tenant.")


async def settle(
    connection: Connection, tenant_id: UUID, name: str, lookup: Lookup, actor: Actor
) -> StoredDomain | None:
    """Store what a look means for a claim, and tell it when its state changes; None when it is gone.

    When the right record is found but the name is verified for another tenant, its problem is `rules.TAKEN`.
    """
    before = await repository.find(connection, tenant_id, name, lock=True)
    if before is None:
        return None
    now = datetime.now(UTC)
    after = rules.judged(before, lookup, now)
    if not await repository.change(connection, tenant_id, after):
        after = rules.taken(before, now)
        await repository.change(connection, tenant_id, after)
    if after.state is not before.state:
        verb = "verified" if after.state is DomainState.VERIFIED else "lapsed"
        await _tell(connection, actor, tenant_id, f"domain.{verb}", before, after)
    return after


async def _tell(
    connection: Connection,
    actor: Actor,
    tenant_id: UUID,
    action: str,
    before: StoredDomain | None,
    after: StoredDomain | None,
) -> None:
    tenant = await tenants.find(connection, tenant_id)
    claim = after or before
    assert tenant is not None  # noqa: S101 - it has a domain
    assert claim is not None  # noqa: S101 - there was one, or there is
    event = TenantUpdated(tenant_id=tenant_id, slug=tenant.slug, changed=["domains"], state=tenant.state)
    await publish_event(connection, event, service=SERVICE, tenant_id=tenant_id)
    act = AuditAct(tenant_id, actor, action, claim.name, before=_facts(before), after=_facts(after))
    await audit.append(connection, tenant_id, [act])


def _facts(domain: StoredDomain | None) -> Facts | None:
    if domain is None:
        return None
    facts: Facts = msgspec.to_builtins(rules.told(domain))
    return facts


def _missing() -> NotFoundError:
    return NotFoundError("There is no such domain.", advice="Register it first.")
