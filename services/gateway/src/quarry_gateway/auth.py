"""Authentication: from the key in a request to the caller, mostly from memory."""

import logging
from uuid import UUID

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from quarry_common import keys
from quarry_common.contracts import subjects
from quarry_common.contracts.events import ApiKeyRevoked, CloudEvent, decode_data
from quarry_common.contracts.tenancy import (
    RESOLVE_KEY,
    RESOLVE_SLUG,
    Principal,
    ResolveKey,
    ResolveSlug,
    Tenant,
)
from quarry_common.errors import NotFoundError, RemoteError, UnauthenticatedError
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.domain import Caller, caller_of, needs_tenant_lookup, require_unexpired
from quarry_gateway.resolver import Resolver

log = logging.getLogger(__name__)

MAX_PRINCIPALS = 10_000
MAX_TENANTS = 1_000
MAX_SLUG_LENGTH = 63


class Authenticator:
    """Resolves keys, and the slugs of tenants that operators act for; believed for `ttl_seconds`."""

    def __init__(self, rpc: RpcClient, *, ttl_seconds: float, timeout_seconds: float) -> None:
        async def by_digest(digest: bytes) -> Principal:
            return await rpc.call(RESOLVE_KEY, ResolveKey(digest), timeout_seconds=timeout_seconds)

        async def by_slug(slug: str) -> Tenant:
            return await rpc.call(RESOLVE_SLUG, ResolveSlug(slug), timeout_seconds=timeout_seconds)

        self._principals: Resolver[bytes, Principal] = Resolver(
            "principals", by_digest, ttl_seconds=ttl_seconds, max_entries=MAX_PRINCIPALS
        )
        self._tenants: Resolver[str, Tenant] = Resolver(
            "tenants", by_slug, ttl_seconds=ttl_seconds, max_entries=MAX_TENANTS
        )

    async def authenticate(self, key: str, tenant_slug: str | None) -> Caller:
        """Return who sent `key`, acting for `tenant_slug` when an operator names one.

        Raises `UnauthenticatedError`, `ForbiddenError`, `NotFoundError` for an unknown tenant, and
        `UnavailableError` when the key is not in memory and the tenants service does not answer.
        """
        principal = await self._principal(keys.parse(key).sha256)
        require_unexpired(principal)
        if tenant_slug is None or not needs_tenant_lookup(principal, tenant_slug):
            return caller_of(principal, acting_for=None)
        return caller_of(principal, acting_for=await self.tenant(tenant_slug))

    async def tenant(self, slug: str) -> Tenant:
        """Return the tenant of a slug. Raises `NotFoundError`, and as `authenticate` does."""
        if len(slug) > MAX_SLUG_LENGTH:
            raise NotFoundError("There is no tenant of that slug.")
        return await self._tenants.resolve(slug)

    async def _principal(self, digest: bytes) -> Principal:
        try:
            return await self._principals.resolve(digest)
        except RemoteError as error:
            if error.data.status not in {401, 404}:
                raise
            raise UnauthenticatedError(
                "The API key is unknown, was revoked or has expired.", advice="Use a valid key."
            ) from None

    def forget(self, key_id: UUID) -> None:
        """Forget what is known of the key `key_id`; it is asked for anew."""
        self._principals.forget(lambda principal: principal.key_id == key_id)

    def forget_tenant(self, tenant_id: UUID | None) -> int:
        """Forget what is known of a tenant and its keys, or of all; return how many entries that were."""
        keys_of = self._principals.forget(lambda who: tenant_id is None or who.tenant_id == tenant_id)
        return keys_of + self._tenants.forget(lambda one: tenant_id is None or one.id == tenant_id)

    @property
    def caches(self) -> list[Resolver[bytes, Principal] | Resolver[str, Tenant]]:
        """What is kept in memory, each of which tells how well it does."""
        return [self._principals, self._tenants]

    async def listen(self, connection: Client) -> None:
        """Forget each key whose revocation is announced on the bus from now on."""

        async def revoked(message: Msg) -> None:
            try:
                event = decode_data(msgspec.json.decode(message.data, type=CloudEvent))
            except msgspec.MsgspecError:
                log.warning("an event could not be read", extra={"subject": message.subject})
                return
            if isinstance(event, ApiKeyRevoked):
                self.forget(event.key_id)

        await connection.subscribe(subjects.events("api_key", "revoked"), cb=revoked)
