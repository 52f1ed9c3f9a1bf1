"""Tenants: made, read, changed, disabled, deleted and restored."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from quarry_common import cursors
from quarry_common.contracts.audit import Actor, AuditAct, Facts
from quarry_common.contracts.domains import KnownOrigin, ResolveOrigin
from quarry_common.contracts.events import EventData, TenantCreated, TenantDeleted, TenantUpdated
from quarry_common.contracts.tenancy import (
    PLATFORM_TENANT,
    CreateTenant,
    DeleteTenant,
    GetTenant,
    ListTenants,
    ResolveSlug,
    RestoreTenant,
    Tenant,
    TenantPage,
    TenantState,
    UpdateTenant,
    quotas_of,
)
from quarry_common.errors import ConflictError, NotFoundError
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import tenants as rules
from quarry_tenants.domain.checks import check_limit
from quarry_tenants.handlers import SERVICE
from quarry_tenants.repository import audit, tenants

_LIST = "tenants"
"""The list, as its cursors name it."""


class Tenants:
    """Answers on one database. What is deleted is purged after `grace`, unless a request says otherwise."""

    def __init__(self, database: Database, grace: timedelta) -> None:
        self._database = database
        self._grace = grace

    async def resolve_slug(self, request: ResolveSlug) -> Tenant:
        """Return the tenant of a slug, disabled or not. Raises `NotFoundError`."""
        # Postgres cannot be asked for a text with NUL in it.
        if "\0" in request.slug:
            raise NotFoundError("There is no such tenant.")
        async with self._database.worker_transaction() as worker:
            tenant = await tenants.of_slug(worker, request.slug)
        if tenant is None:
            raise NotFoundError(f"There is no tenant {request.slug[:63]!r}.")
        return tenant

    async def resolve_origin(self, request: ResolveOrigin) -> KnownOrigin:
        """Return whether any tenant's pages come from an origin."""
        if "\0" in request.origin:
            return KnownOrigin(known=False)
        async with self._database.worker_transaction() as worker:
            return KnownOrigin(await tenants.has_origin(worker, request.origin))

    async def get(self, request: GetTenant) -> Tenant:
        """Return a tenant. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            return _there(await tenants.find(connection, request.tenant_id))

    async def list(self, request: ListTenants) -> TenantPage:
        """Return a page of all tenants; whether the caller may see them is the gateway's to say."""
        limit = check_limit(request.limit)
        after = cursors.decode_id(_LIST, request.cursor) or UUID(int=0)
        async with self._database.worker_transaction() as worker:
            found = await tenants.page(worker, after, limit + 1)
        more = cursors.encode(_LIST, str(found[limit - 1].id)) if len(found) > limit else None
        return TenantPage(found[:limit], more)

    async def create(self, request: CreateTenant) -> Tenant:
        """Make a tenant, or return the one made under the same idempotency key.

        Raises `ConflictError` when the slug is taken.
        """
        rules.check_new(request)

        async def make(connection: Connection) -> Tenant:
            # The key is the operator's, the row and its event are the new tenant's.
            tenant_id = new_id()
            await self._database.become(connection, tenant_id)
            tenant = await tenants.add(connection, _new(tenant_id, request))
            if tenant is None:
                raise ConflictError(f"The slug {request.slug!r} is taken.", advice="Choose another slug.")
            event = TenantCreated(tenant_id=tenant.id, slug=tenant.slug, name=tenant.name)
            await self._tell(connection, request.actor, "tenant.created", [event], None, tenant)
            return tenant

        asked = fingerprint(
            "create_tenant", msgspec.structs.replace(request, idempotency_key=None, actor=Actor())
        )
        made, _ = await once(self._database, PLATFORM_TENANT, request.idempotency_key, asked, Tenant, make)
        return made

    async def update(self, request: UpdateTenant) -> Tenant:
        """Change a tenant.

        Raises `NotFoundError`, `ValidationError`, and `ConflictError` when it is being deleted.
        """
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            before = _there(await tenants.lock(connection, request.tenant_id))
            after = rules.changed(before, request)
            if differs := rules.differences(before, after):
                await tenants.change(connection, after)
                event = _updated(after, differs)
                await self._tell(connection, request.actor, "tenant.updated", [event], before, after)
        return after

    async def delete(self, request: DeleteTenant) -> Tenant:
        """Disable a tenant now and have it purged later; asked again, the later request says when.

        Raises `NotFoundError`, `ConflictError` when its purge has begun, `ValidationError`.
        """
        grace = self._grace if request.grace_seconds is None else timedelta(seconds=request.grace_seconds)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            before = _there(await tenants.lock(connection, request.tenant_id))
            after = rules.deleted(before, grace, datetime.now(UTC))
            await tenants.change(connection, after)
            assert after.purge_at is not None  # noqa: S101 - `deleted` sets it
            told = [
                _updated(after, ["state"]),
                TenantDeleted(tenant_id=after.id, slug=after.slug, purge_at=after.purge_at),
            ]
            await self._tell(connection, request.actor, "tenant.deleted", told, before, after)
        return after

    async def restore(self, request: RestoreTenant) -> Tenant:
        """Keep a tenant that was to be purged. Raises `NotFoundError`, `ConflictError` if it is too late."""

        async def keep(connection: Connection) -> Tenant:
            before = _there(await tenants.lock(connection, request.tenant_id))
            after = rules.restored(before)
            await tenants.change(connection, after)
            event = _updated(after, ["state"])
            await self._tell(connection, request.actor, "tenant.restored", [event], before, after)
            await self._database.become(connection, request.tenant_id)
            return after

        asked = fingerprint("restore_tenant", request.tenant_id)
        kept, _ = await once(self._database, request.tenant_id, request.idempotency_key, asked, Tenant, keep)
        return kept

    async def _tell(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        events: Sequence[EventData],
        before: Tenant | None,
        after: Tenant,
    ) -> None:
        """Tell what became of a tenant. Its audit log goes with it, so the platform's tells it as well."""
        for event in events:
            await publish_event(connection, event, service=SERVICE, tenant_id=after.id)
        now = datetime.now(UTC)
        for log in (after.id, PLATFORM_TENANT):
            await self._database.become(connection, log)
            act = AuditAct(log, actor, action, after.slug, before=_facts(before), after=_facts(after), at=now)
            await audit.append(connection, log, [act])


def _new(tenant_id: UUID, request: CreateTenant) -> Tenant:
    return Tenant(
        id=tenant_id,
        slug=request.slug,
        name=request.name,
        plan=request.plan,
        quotas=quotas_of(request.plan, request.quota_changes),
        quota_changes=request.quota_changes,
        state=TenantState.ACTIVE,
        created_at=datetime.now(UTC),
        cors_origins=request.cors_origins,
    )


def _updated(tenant: Tenant, changed: list[str]) -> TenantUpdated:
    return TenantUpdated(tenant_id=tenant.id, slug=tenant.slug, changed=changed, state=tenant.state)


def _there(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise NotFoundError("There is no such tenant.")
    return tenant


def _facts(tenant: Tenant | None) -> Facts | None:
    if tenant is None:
        return None
    facts: Facts = msgspec.to_builtins(tenant)
    return facts
