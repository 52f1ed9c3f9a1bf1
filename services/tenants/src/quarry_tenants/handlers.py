"""What answers `rpc.v1.tenants.*`."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common import cursors, keys
from quarry_common.contracts.events import ApiKeyCreated, ApiKeyRevoked, TenantCreated
from quarry_common.contracts.tenancy import (
    PLATFORM_TENANT,
    ApiKey,
    CreatedKey,
    CreateKey,
    CreateTenant,
    KeyPage,
    ListKeys,
    ListTenants,
    Principal,
    ResolveKey,
    ResolveSlug,
    RevokeKey,
    Tenant,
    TenantPage,
)
from quarry_common.errors import ConflictError, ForbiddenError, NotFoundError, QuotaExceededError
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants import domain, repository

SERVICE = "tenants"
_TENANTS, _KEYS = "tenants", "keys"
"""The lists, as their cursors name them."""


class Handlers:
    """Answers on one database. `max_keys` bounds the usable keys of a tenant."""

    def __init__(self, database: Database, max_keys: int) -> None:
        self._database = database
        self._max_keys = max_keys

    async def resolve_key(self, request: ResolveKey) -> Principal:
        """Return whom a key stands for. Raises `UnauthenticatedError` when it is refused."""
        async with self._database.worker_transaction() as worker:
            key = await repository.key_of_hash(worker, request.key_sha256)
            if key is None:
                key = await repository.operator_key_of_hash(worker, request.key_sha256)
        return domain.principal_of(key, datetime.now(UTC))

    async def resolve_slug(self, request: ResolveSlug) -> Tenant:
        """Return the tenant of a slug, disabled or not. Raises `NotFoundError`."""
        # Postgres cannot be asked for a text with NUL in it.
        if "\0" in request.slug:
            raise NotFoundError("There is no such tenant.")
        async with self._database.worker_transaction() as worker:
            tenant = await repository.tenant_of_slug(worker, request.slug)
        if tenant is None:
            raise NotFoundError(f"There is no tenant {request.slug[:63]!r}.")
        return tenant

    async def create_tenant(self, request: CreateTenant) -> Tenant:
        """Make a tenant, or return the one made under the same idempotency key.

        Raises `ConflictError` when the slug is taken.
        """
        domain.check_tenant(request)

        async def make(connection: Connection) -> Tenant:
            # The key is the operator's, the row and its event are the new tenant's.
            tenant_id = new_id()
            await self._database.become(connection, tenant_id)
            tenant = await repository.add_tenant(connection, tenant_id, request.slug, request.name)
            if tenant is None:
                raise ConflictError(f"The slug {request.slug!r} is taken.", advice="Choose another slug.")
            event = TenantCreated(tenant_id=tenant.id, slug=tenant.slug, name=tenant.name)
            await publish_event(connection, event, service=SERVICE, tenant_id=tenant_id)
            await self._database.become(connection, PLATFORM_TENANT)
            return tenant

        asked = fingerprint("create_tenant", request.slug, request.name)
        made, _ = await once(self._database, PLATFORM_TENANT, request.idempotency_key, asked, Tenant, make)
        return made

    async def list_tenants(self, request: ListTenants) -> TenantPage:
        """Return a page of all tenants; whether the caller may see them is the gateway's to say."""
        limit = domain.check_limit(request.limit)
        after = cursors.decode_id(_TENANTS, request.cursor) or UUID(int=0)
        async with self._database.worker_transaction() as worker:
            found = await repository.tenants_after(worker, after, limit + 1)
        more = cursors.encode(_TENANTS, str(found[limit - 1].id)) if len(found) > limit else None
        return TenantPage(found[:limit], more)

    async def create_key(self, request: CreateKey) -> CreatedKey:
        """Make a key and return its text. It is not kept, but for a day sealed with the idempotency key.

        Whoever repeats a request gets the same text only with the same scopes to grant: it is no way to a key
        that may more.
        """
        now = datetime.now(UTC)
        domain.check_key(request, now)

        async def make(connection: Connection) -> CreatedKey:
            text = keys.generate(request.label)
            await self._require_room(connection, request, now)
            key = await repository.add_key(connection, new_id(), keys.parse(text), request)
            event = ApiKeyCreated(key_id=key.id, name=key.name, scopes=[scope.value for scope in key.scopes])
            await publish_event(connection, event, service=SERVICE, tenant_id=request.tenant_id)
            return CreatedKey(text, key)

        asked = fingerprint("create_key", msgspec.structs.replace(request, idempotency_key=None))
        made, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, asked, CreatedKey, make
        )
        return made

    async def _require_room(self, connection: Connection, request: CreateKey, now: datetime) -> None:
        tenant = await repository.lock_tenant(connection, request.tenant_id)
        if tenant is None:
            raise NotFoundError("There is no such tenant.")
        if tenant.disabled:
            raise ForbiddenError(
                f"The tenant {tenant.slug} is disabled.", advice="Ask the operator of this installation."
            )
        if await repository.usable_keys(connection, tenant.id, now) >= self._max_keys:
            raise QuotaExceededError(
                f"The tenant {tenant.slug} has {self._max_keys} keys, which is the limit.",
                advice="Revoke keys that are no longer needed.",
            )

    async def list_keys(self, request: ListKeys) -> KeyPage:
        """Return a page of a tenant's keys, revoked ones too. Raises `NotFoundError`."""
        limit = domain.check_limit(request.limit)
        after = cursors.decode_id(_KEYS, request.cursor) or UUID(int=0)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if not await repository.has_tenant(connection, request.tenant_id):
                raise NotFoundError("There is no such tenant.")
            found = await repository.keys_after(connection, request.tenant_id, after, limit + 1)
        more = cursors.encode(_KEYS, str(found[limit - 1].id)) if len(found) > limit else None
        return KeyPage(found[:limit], more)

    async def revoke_key(self, request: RevokeKey) -> ApiKey:
        """Refuse a key from now on; a revoked one stays as it is. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            revoked = await repository.revoke_key(connection, request.tenant_id, request.key_id)
            if revoked is not None:
                event = ApiKeyRevoked(key_id=revoked.id, name=revoked.name)
                await publish_event(connection, event, service=SERVICE, tenant_id=request.tenant_id)
                return revoked
            key = await repository.find_key(connection, request.tenant_id, request.key_id)
        if key is None:
            raise NotFoundError("There is no such key.")
        return key
