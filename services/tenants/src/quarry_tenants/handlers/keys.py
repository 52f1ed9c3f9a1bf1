"""API keys: made, resolved, rotated, revoked."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common import cursors, keys
from quarry_common.contracts.api_keys import (
    ApiKey,
    CreatedKey,
    CreateKey,
    KeyPage,
    KeyRef,
    KeyVerdict,
    ListKeys,
    Principal,
    ResolveKey,
    RevokeKey,
    RotateKey,
    VerifyKey,
)
from quarry_common.contracts.audit import Actor, AuditAct, Facts, Owners, OwnersOf
from quarry_common.contracts.events import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated, EventData
from quarry_common.contracts.tenancy import TenantState
from quarry_common.contracts.usage import Quota
from quarry_common.errors import ConflictError, NotFoundError, QuotaExceededError
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import keys as rules
from quarry_tenants.domain.checks import check_limit
from quarry_tenants.handlers import SERVICE
from quarry_tenants.handlers.active import active
from quarry_tenants.repository import audit, tenants
from quarry_tenants.repository import keys as repository

_LIST = "keys"
"""The list, as its cursors name it."""


class Keys:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, request: ResolveKey) -> Principal:
        """Return whom a key stands for. Raises `UnauthenticatedError` when it is refused."""
        async with self._database.worker_transaction() as worker:
            key = await repository.resolve(worker, request.key_sha256)
            if key is None:
                key = await repository.resolve_operator(worker, request.key_sha256)
        return rules.principal_of(key, datetime.now(UTC))

    async def verify(self, request: VerifyKey) -> KeyVerdict:
        """Return whether a key of the asking tenant would be let in; another's is unknown."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            key = await repository.of_hash(connection, request.tenant_id, request.key_sha256)
            tenant = await tenants.find(connection, request.tenant_id)
        if key is None or tenant is None:
            return KeyVerdict(valid=False, code="unknown")
        code = rules.state_of(key, datetime.now(UTC))
        if code == "valid" and tenant.state is not TenantState.ACTIVE:
            code = "disabled"
        return KeyVerdict(valid=code == "valid", code=code, api_key=key)

    async def create(self, request: CreateKey) -> CreatedKey:
        """Make a key and return its text. It is not kept, but for a day sealed with the idempotency key.

        Whoever repeats a request gets the same text only with the same scopes to grant: it is no way to a key
        that may more.
        """
        now = datetime.now(UTC)
        wanted = rules.checked(request, now)

        async def make(connection: Connection) -> CreatedKey:
            tenant = await active(connection, request.tenant_id)
            limit = tenant.quotas.keys
            if limit is not None and await repository.usable(connection, tenant.id, now) >= limit:
                raise QuotaExceededError(
                    f"The tenant has {limit} keys, which is its quota `{Quota.KEYS.value}`.",
                    advice="Revoke keys that are no longer needed, or ask the operator for a higher quota.",
                )
            text = keys.generate(request.label)
            key = await repository.add(connection, new_id(), keys.parse(text), wanted)
            event = ApiKeyCreated(key_id=key.id, name=key.name, scopes=[scope.value for scope in key.scopes])
            await _tell(connection, request.actor, tenant.id, event, None, key)
            return CreatedKey(text, key)

        asked = fingerprint(
            "create_key", msgspec.structs.replace(request, idempotency_key=None, actor=Actor())
        )
        made, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, asked, CreatedKey, make
        )
        return made

    async def rotate(self, request: RotateKey) -> CreatedKey:
        """Make a key that may what an old one may; the old one is refused when the overlap is over.

        Raises `NotFoundError`, `ConflictError` when the old one is not in use any more or replaced already,
        `ForbiddenError` when the caller may less than it.
        """
        now = datetime.now(UTC)

        async def make(connection: Connection) -> CreatedKey:
            tenant = await active(connection, request.tenant_id)
            old = await repository.find(connection, tenant.id, request.key_id, lock=True)
            if old is None:
                raise NotFoundError("There is no such key.")
            if (state := rules.state_of(old, now)) != "valid":
                raise ConflictError(f"The key is {state}.", advice="Make a new key instead.")
            if await repository.is_replaced(connection, tenant.id, old.id):
                # Keys that are replaced do not count: a second successor would be one more than the quota.
                raise ConflictError("The key is replaced already.", advice="Rotate the key that replaces it.")
            rules.require_within(rules.grant_of(old), request.maker)
            end = rules.overlap_end(old, request.overlap_seconds, now)
            text = keys.generate(old.label)
            key = await repository.replace(connection, new_id(), keys.parse(text), old.id)
            await repository.let_expire(connection, tenant.id, old.id, end)
            event = ApiKeyRotated(key_id=old.id, name=old.name, new_key_id=key.id, expires_at=end)
            await _tell(connection, request.actor, tenant.id, event, old, key)
            return CreatedKey(text, key)

        asked = fingerprint(
            "rotate_key", msgspec.structs.replace(request, idempotency_key=None, actor=Actor())
        )
        made, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, asked, CreatedKey, make
        )
        return made

    async def list(self, request: ListKeys) -> KeyPage:
        """Return a page of a tenant's keys, revoked ones too. Raises `NotFoundError`."""
        limit = check_limit(request.limit)
        after = cursors.decode_id(_LIST, request.cursor) or UUID(int=0)
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if await tenants.find(connection, request.tenant_id) is None:
                raise NotFoundError("There is no such tenant.")
            found = await repository.page(connection, request.tenant_id, after, limit + 1)
        more = cursors.encode(_LIST, str(found[limit - 1].id)) if len(found) > limit else None
        return KeyPage(found[:limit], more)

    async def get(self, request: KeyRef) -> ApiKey:
        """Return a key. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            key = await repository.find(connection, request.tenant_id, request.key_id)
        if key is None:
            raise NotFoundError("There is no such key.")
        return key

    async def owners(self, request: OwnersOf) -> Owners:
        """Return whose keys are, for the audit of attempts on another tenant's."""
        async with self._database.worker_transaction() as worker:
            return Owners(await repository.owners(worker, request.ids))

    async def revoke(self, request: RevokeKey) -> ApiKey:
        """Refuse a key from now on; a revoked one stays as it is. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            held = await tenants.hold(connection, request.tenant_id)
            before = await repository.find(connection, request.tenant_id, request.key_id)
            if before is None or not held:
                raise NotFoundError("There is no such key.")
            revoked = await repository.revoke(connection, request.tenant_id, request.key_id)
            if revoked is None:
                return before
            event = ApiKeyRevoked(key_id=revoked.id, name=revoked.name)
            await _tell(connection, request.actor, request.tenant_id, event, before, revoked)
            return revoked


async def _tell(
    connection: Connection,
    actor: Actor,
    tenant_id: UUID,
    event: EventData,
    before: ApiKey | None,
    after: ApiKey,
) -> None:
    await publish_event(connection, event, service=SERVICE, tenant_id=tenant_id)
    act = AuditAct(
        tenant_id,
        actor,
        event.type,
        str(before.id if before else after.id),
        before=_facts(before),
        after=_facts(after),
    )
    await audit.append(connection, tenant_id, [act])


def _facts(key: ApiKey | None) -> Facts | None:
    if key is None:
        return None
    facts: Facts = msgspec.to_builtins(key)
    return facts
