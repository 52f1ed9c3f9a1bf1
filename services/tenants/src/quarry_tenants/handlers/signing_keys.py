"""Signing keys: made, listed, revoked, resolved."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.audit import Actor, AuditAct, Facts
from quarry_common.contracts.events import EventData, SigningKeyRevoked, TenantUpdated
from quarry_common.contracts.signing_keys import (
    CreatedSigningKey,
    CreateSigningKey,
    ListSigningKeys,
    ResolveSigningKey,
    RevokeTokens,
    SigningKey,
    SigningKeys,
    TokenIssuer,
)
from quarry_common.errors import NotFoundError
from quarry_common.ids import new_id
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_tenants.domain import signing_keys as rules
from quarry_tenants.handlers import SERVICE
from quarry_tenants.handlers.active import active
from quarry_tenants.repository import audit, tenants
from quarry_tenants.repository import signing_keys as repository


class SigningKeyHandlers:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, request: CreateSigningKey) -> CreatedSigningKey:
        """Make a key, or take one whose private half the tenant keeps to itself.

        A private half that is made here is not kept, but for a day sealed with the idempotency key. Raises
        `ValidationError`, `NotFoundError`, `ForbiddenError` when the tenant is disabled or tokens of the key
        could do more than its maker, and `ConflictError` when the tenant may have no more.
        """
        rules.check_new(request)
        given = None if request.public_key is None else rules.public_key_of(request.public_key)

        async def make(connection: Connection) -> CreatedSigningKey:
            tenant = await active(connection, request.tenant_id)
            rules.check_room(await repository.live(connection, tenant.id))
            public_key, private_key = (given, None) if given is not None else rules.new_pair()
            key = await repository.add(connection, new_id(), public_key, request)
            event = TenantUpdated(
                tenant_id=tenant.id, slug=tenant.slug, changed=["signing_keys"], state=tenant.state
            )
            await _tell(connection, request.actor, tenant.id, "signing_key.created", event, None, key)
            return CreatedSigningKey(key, private_key)

        asked = fingerprint(
            "create_signing_key", msgspec.structs.replace(request, idempotency_key=None, actor=Actor())
        )
        made, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, asked, CreatedSigningKey, make
        )
        return made

    async def list(self, request: ListSigningKeys) -> SigningKeys:
        """Return a tenant's keys, revoked ones too. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.tenant_id) as connection:
            if await tenants.find(connection, request.tenant_id) is None:
                raise NotFoundError("There is no such tenant.")
            return SigningKeys(await repository.of_tenant(connection, request.tenant_id))

    async def revoke(self, request: RevokeTokens) -> SigningKey:
        """Have tokens of a key refused; what is refused already stays so. Raises `NotFoundError`,
        `ValidationError`.
        """

        async def change(connection: Connection) -> SigningKey:
            before = await repository.lock(connection, request.tenant_id, request.signing_key_id)
            if before is None:
                raise NotFoundError("There is no such signing key.")
            after = rules.revoked(before, request, datetime.now(UTC))
            if after != before:
                await repository.change(connection, request.tenant_id, after)
                event = SigningKeyRevoked(signing_key_id=after.id, before=request.before)
                action = "signing_key.revoked"
                await _tell(connection, request.actor, request.tenant_id, action, event, before, after)
            return after

        asked = fingerprint(
            "revoke_tokens", msgspec.structs.replace(request, idempotency_key=None, actor=Actor())
        )
        revoked, _ = await once(
            self._database, request.tenant_id, request.idempotency_key, asked, SigningKey, change
        )
        return revoked

    async def resolve(self, request: ResolveSigningKey) -> TokenIssuer:
        """Return whose tokens a key makes. Raises `UnauthenticatedError` when they are refused."""
        async with self._database.worker_transaction() as worker:
            key = await repository.resolve(worker, request.signing_key_id)
        return rules.issuer_of(key)


async def _tell(
    connection: Connection,
    actor: Actor,
    tenant_id: UUID,
    action: str,
    event: EventData,
    before: SigningKey | None,
    after: SigningKey,
) -> None:
    await publish_event(connection, event, service=SERVICE, tenant_id=tenant_id)
    act = AuditAct(tenant_id, actor, action, str(after.id), before=_facts(before), after=_facts(after))
    await audit.append(connection, tenant_id, [act])


def _facts(key: SigningKey | None) -> Facts | None:
    if key is None:
        return None
    facts: Facts = msgspec.to_builtins(key)
    return facts
