"""Authentication: from the key or search token in a request to the caller, mostly from memory."""

import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from quarry_common import keys
from quarry_common.cache.listening import Listener
from quarry_common.contracts import subjects
from quarry_common.contracts.api_keys import RESOLVE_KEY, Principal, ResolveKey
from quarry_common.contracts.domains import RESOLVE_HOST, HostTenant, ResolveHost
from quarry_common.contracts.events import (
    ApiKeyRevoked,
    ApiKeyRotated,
    CloudEvent,
    EventData,
    SigningKeyRevoked,
    TenantDeleted,
    TenantUpdated,
    decode_data,
)
from quarry_common.contracts.signing_keys import RESOLVE_SIGNING_KEY, ResolveSigningKey, TokenIssuer
from quarry_common.contracts.tenancy import RESOLVE_SLUG, ResolveSlug, Scope, Tenant
from quarry_common.errors import NotFoundError, RemoteError, UnauthenticatedError
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.access.resolver import Resolver
from quarry_gateway.access.search_tokens import SearchTokens
from quarry_gateway.domain import (
    Caller,
    CrossTenantError,
    acting_for,
    caller_of,
    names_another_tenant,
    require_unexpired,
    token_caller,
)

log = logging.getLogger(__name__)

TENANTS = "tenants"
"""The service that answers, and tells of changes."""
MAX_PRINCIPALS = 10_000
MAX_TENANTS = 1_000
MAX_HOSTS = 10_000
MAX_SLUG_LENGTH = 63
CHANGES = (
    ("api_key", "revoked"),
    ("api_key", "rotated"),
    ("signing_key", "revoked"),
    ("tenant", "updated"),
    ("tenant", "deleted"),
)
"""Events after which something is resolved anew."""


class Credentials(msgspec.Struct, frozen=True):
    """What a request carries to be let in."""

    secret: str
    """A key, or a search token."""
    tenant_slug: str | None = None
    """The tenant that an operator names."""
    host: str = ""
    """The name by which the gateway was asked, without a port."""
    address: str | None = None
    request_id: str = ""


class Authenticator:
    """Resolves keys, tokens' signing keys, custom domains, and the slugs of tenants that operators act for.

    What is resolved is believed for `ttl_seconds`, and longer while it is certain that changes are heard of.
    `own_hosts` are names of the gateway that are nobody's custom domain.
    """

    def __init__(
        self,
        rpc: RpcClient,
        *,
        ttl_seconds: float,
        timeout_seconds: float,
        own_hosts: Collection[str] = (),
        tenant_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`tenant_changed` is called when a tenant was changed, which may have been in anything."""

        async def by_digest(digest: bytes) -> Principal:
            return await rpc.call(RESOLVE_KEY, ResolveKey(digest), timeout_seconds=timeout_seconds)

        async def by_slug(slug: str) -> Tenant:
            return await rpc.call(RESOLVE_SLUG, ResolveSlug(slug), timeout_seconds=timeout_seconds)

        async def by_key_id(key_id: UUID) -> TokenIssuer:
            asked = ResolveSigningKey(key_id)
            return await rpc.call(RESOLVE_SIGNING_KEY, asked, timeout_seconds=timeout_seconds)

        async def by_host(host: str) -> HostTenant:
            return await rpc.call(RESOLVE_HOST, ResolveHost(host), timeout_seconds=timeout_seconds)

        self._tenant_changed = tenant_changed
        self._listener: Listener | None = None
        self._own_hosts = frozenset(own_hosts)
        self._tokens = SearchTokens()
        self._principals: Resolver[bytes, Principal] = Resolver(
            "principals",
            by_digest,
            ttl_seconds=ttl_seconds,
            max_entries=MAX_PRINCIPALS,
            unchanged_until=self._unchanged_until,
            # Nothing tells that the operator's key is another one.
            lasting=lambda principal: principal.tenant_id is not None,
        )
        self._tenants: Resolver[str, Tenant] = Resolver(
            "tenants",
            by_slug,
            ttl_seconds=ttl_seconds,
            max_entries=MAX_TENANTS,
            unchanged_until=self._unchanged_until,
        )
        self._issuers: Resolver[UUID, TokenIssuer] = Resolver(
            "signing_keys",
            by_key_id,
            ttl_seconds=ttl_seconds,
            max_entries=MAX_PRINCIPALS,
            unchanged_until=self._unchanged_until,
        )
        self._hosts: Resolver[str, HostTenant] = Resolver(
            "domains", by_host, ttl_seconds=ttl_seconds, max_entries=MAX_HOSTS
        )

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return who sent `credentials`, acting for another tenant when an operator names one.

        A custom domain names its tenant, too. Raises `UnauthenticatedError`, `ForbiddenError`,
        `NotFoundError` for an unknown tenant, and `UnavailableError` when the key is not in memory and the
        tenants service does not answer.
        """
        caller = await self._caller(credentials)
        slug = credentials.tenant_slug
        host = await self._host(credentials.host)
        if host is not None:
            _require_host(caller, host, credentials.host)
            slug = slug or host.slug
        if slug is None or not names_another_tenant(caller, slug):
            return caller
        return acting_for(caller, await self.tenant(slug))

    async def tenant(self, slug: str) -> Tenant:
        """Return the tenant of a slug. Raises `NotFoundError`, and as `authenticate` does."""
        if len(slug) > MAX_SLUG_LENGTH:
            raise NotFoundError("There is no tenant of that slug.")
        return await self._tenants.resolve(slug)

    async def _caller(self, credentials: Credentials) -> Caller:
        secret = credentials.secret
        if "." in secret:  # no key has one, and a token has two
            issuer = await _known(
                self._issuers.resolve(self._tokens.key_id_of(secret)), "The search token's key is not known."
            )
            token = self._tokens.verify(secret, issuer, datetime.now(UTC))
            caller = token_caller(issuer, token)
        else:
            principal = await _known(
                self._principals.resolve(keys.parse(secret).sha256),
                "The API key is unknown, was revoked or has expired.",
            )
            require_unexpired(principal)
            caller = caller_of(principal)
        return msgspec.structs.replace(caller, address=credentials.address, request_id=credentials.request_id)

    async def _host(self, host: str) -> HostTenant | None:
        """Return whose custom domain a name is, or None. Raises `UnavailableError` while nobody can say."""
        if not host or host in self._own_hosts or not _may_be_domain(host):
            return None
        try:
            return await self._hosts.resolve(host)
        except RemoteError as error:
            if error.data.status != 404:
                raise
            return None

    def forget(self, key_id: UUID) -> None:
        """Forget what is known of the key `key_id`; it is asked for anew."""
        self._principals.forget(lambda principal: principal.key_id == key_id)

    def forget_tenant(self, tenant_id: UUID | None) -> int:
        """Forget what is known of a tenant and its keys, or of all; return how many entries that were."""
        return (
            self._principals.forget(lambda who: tenant_id is None or who.tenant_id == tenant_id)
            + self._tenants.forget(lambda one: tenant_id is None or one.id == tenant_id)
            + self._issuers.forget(lambda who: tenant_id is None or who.tenant_id == tenant_id)
            + self._hosts.forget(lambda one: tenant_id is None or one.tenant_id == tenant_id)
        )

    @property
    def caches(self) -> list[Resolver[Any, Any]]:
        """What is kept in memory, each of which tells how well it does."""
        return [self._principals, self._tenants, self._issuers, self._hosts]

    async def listen(self, connection: Client) -> None:
        """Forget what is announced on the bus to have changed, from now on."""
        changes = [subjects.events(entity, verb) for entity, verb in CHANGES]
        self._listener = Listener(connection, TENANTS, changes, self._heard)
        await self._listener.open()

    def _unchanged_until(self, since: float) -> float | None:
        return self._listener.complete_until(since) if self._listener is not None else None

    def _heard(self, message: Msg) -> None:
        try:
            event = decode_data(msgspec.json.decode(message.data, type=CloudEvent))
        except msgspec.MsgspecError:
            # Whatever it is, something has changed.
            log.warning("an event could not be read", extra={"subject": message.subject})
            self.forget_tenant(None)
            return
        self._forget_changed(event)

    def _forget_changed(self, event: EventData) -> None:
        match event:
            case ApiKeyRevoked() | ApiKeyRotated():
                self.forget(event.key_id)
            case SigningKeyRevoked():
                self._issuers.forget(lambda issuer: issuer.signing_key_id == event.signing_key_id)
            case TenantUpdated() | TenantDeleted():
                self.forget_tenant(event.tenant_id)
                self._tenant_changed()
            case _:
                pass


async def _known(asking: Any, refusal: str) -> Any:
    try:
        return await asking
    except RemoteError as error:
        if error.data.status not in {401, 404}:
            raise
        raise UnauthenticatedError(refusal, advice="Use a valid one.") from None


def _require_host(caller: Caller, host: HostTenant, name: str) -> None:
    """Raise `CrossTenantError` when a custom domain is another tenant's than the caller's."""
    if caller.tenant == host.tenant_id or Scope.PLATFORM in caller.scopes:
        return
    raise CrossTenantError(
        "The key is not of the tenant whose domain this is.",
        advice="Use a key of that tenant, or the address of the installation.",
        caller=caller,
        target=f"domain {name[:253]}",
    )


def _may_be_domain(host: str) -> bool:
    if "." not in host or len(host) > 253:
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
