"""Who may do what: pure rules, without HTTP and without I/O."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import Grant, Principal
from quarry_common.contracts.audit import Actor, ActorKind
from quarry_common.contracts.documents import Room
from quarry_common.contracts.filters import Filter
from quarry_common.contracts.jobs import Job, JobDetail
from quarry_common.contracts.signing_keys import TokenIssuer
from quarry_common.contracts.tenancy import TENANT_SCOPES, Quotas, Scope, Tenant, TenantState
from quarry_common.errors import FieldError, ForbiddenError, UnauthenticatedError, ValidationError
from quarry_gateway.access.search_tokens import SearchToken

TENANT_HEADER = "X-Tenant"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, for which tenant, and what of it is allowed."""

    key_id: UUID
    """Of the API key, or of the key that signed the search token."""
    kind: ActorKind
    scopes: frozenset[Scope]
    tenant: UUID | None
    """None for an operator who did not name one."""
    tenant_slug: str | None
    quotas: Quotas | None = None
    """The tenant's; None without one."""
    collections: frozenset[str] | None = None
    """Collections that are within reach; None is all."""
    networks: tuple[str, ...] = ()
    principals: frozenset[str] = frozenset()
    user_id: str | None = None
    """Whose searches they are, as a search token says."""
    forced: Filter | None = None
    """What a search token narrows every search to."""
    expires_at: datetime | None = None
    requests_per_second: int | None = None
    rate_bucket: UUID | None = None
    cors_origins: tuple[str, ...] = ()
    address: str | None = None
    """IP address that the request came from."""
    request_id: str = ""

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the request is for. Raises `ValidationError` when an operator named none."""
        if self.tenant is None:
            raise ValidationError(
                "An operator's key acts for a tenant that has to be named.",
                errors=[FieldError(TENANT_HEADER, "is missing; send the slug of the tenant to act for")],
            )
        return self.tenant

    @property
    def actor(self) -> Actor:
        """The caller as the audit log names it."""
        return Actor(self.kind, self.key_id, self.address, self.request_id or None)

    @property
    def grant(self) -> Grant:
        """What a key that the caller makes may at most."""
        return Grant(self.scopes, self.collections, self.networks, self.principals, self.expires_at)

    @property
    def room(self) -> Room:
        """What the tenant may have in all."""
        if self.quotas is None:
            return Room()
        return Room(self.quotas.documents, self.quotas.storage_bytes)

    def reaches(self, collection: str) -> bool:
        """Whether a collection is within reach."""
        return self.collections is None or collection in self.collections

    def require_collection(self, collection: str) -> str:
        """Return `collection`. Raises `ForbiddenError` when it is out of reach."""
        if not self.reaches(collection):
            raise ForbiddenError(
                f"The key is not for the collection {collection!r}.",
                advice="Use one of the collections that the key is limited to, or another key.",
            )
        return collection

    def chosen_collection(self, named: str | None) -> str | None:
        """Return the collection that a request is narrowed to, which a caller limited to some has to name.

        Raises `ForbiddenError` when it is out of reach, and `ValidationError` when it is missing.
        """
        if named is not None or self.collections is None:
            return named if named is None else self.require_collection(named)
        if len(self.collections) == 1:
            return next(iter(self.collections))
        raise ValidationError(
            "The key is limited to collections, so one has to be named.",
            errors=[FieldError("collection", "is missing; name one of those that the key is limited to")],
        )


def caller_of(principal: Principal) -> Caller:
    """Return the caller that `principal` is."""
    return Caller(
        key_id=principal.key_id,
        kind=principal.kind,
        scopes=principal.scopes,
        tenant=principal.tenant_id,
        tenant_slug=principal.tenant_slug,
        quotas=principal.quotas,
        collections=principal.collections,
        networks=principal.networks,
        principals=principal.principals,
        expires_at=principal.expires_at,
        requests_per_second=principal.requests_per_second,
        rate_bucket=principal.rate_bucket,
        cors_origins=principal.cors_origins,
    )


def acting_for(operator: Caller, tenant: Tenant) -> Caller:
    """Return the operator in the place of a tenant. Raises `ForbiddenError` when that is not active."""
    if tenant.state is not TenantState.ACTIVE:
        raise ForbiddenError(
            f"The tenant {tenant.slug} is {tenant.state.value}.", advice="Enable or restore it first."
        )
    return msgspec.structs.replace(
        operator,
        scopes=operator.scopes | TENANT_SCOPES,
        tenant=tenant.id,
        tenant_slug=tenant.slug,
        quotas=tenant.quotas,
        cors_origins=tuple(tenant.cors_origins),
    )


class CrossTenantError(ForbiddenError):
    """A caller reached for another tenant. To the caller it is any other refusal; it is written down."""

    def __init__(self, detail: str, *, advice: str, caller: Caller, target: str) -> None:
        super().__init__(detail, advice=advice)
        self.caller = caller
        self.target = target


def token_caller(issuer: TokenIssuer, token: SearchToken) -> Caller:
    """Return the caller that a search token stands for: it searches, bound to what the token forces."""
    return Caller(
        key_id=issuer.signing_key_id,
        kind=ActorKind.SEARCH_TOKEN,
        scopes=frozenset({Scope.SEARCH}),
        tenant=issuer.tenant_id,
        tenant_slug=issuer.tenant_slug,
        quotas=issuer.quotas,
        collections=token.collections,
        principals=token.principals,
        user_id=token.subject,
        forced=token.filter,
        expires_at=token.expires_at,
        cors_origins=issuer.cors_origins,
    )


def names_another_tenant(caller: Caller, named: str | None) -> bool:
    """Whether `X-Tenant: named` asks an operator's key to act for a tenant.

    Raises `CrossTenantError` when a tenant's own key names another tenant.
    """
    if named is None or named == caller.tenant_slug:
        return False
    if Scope.PLATFORM not in caller.scopes:
        raise CrossTenantError(
            f"Only an operator's key may send {TENANT_HEADER}.",
            advice=f"Leave {TENANT_HEADER} out: the key belongs to one tenant already.",
            caller=caller,
            target=f"tenant {named[:63]}",
        )
    return True


def require_unexpired(principal: Principal) -> None:
    """Raise `UnauthenticatedError` when the principal's key has expired since it was resolved."""
    if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
        raise UnauthenticatedError("The API key has expired.", advice="Make a new key and use that.")


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raise `ForbiddenError` unless the caller holds `scope`."""
    if scope not in caller.scopes:
        raise ForbiddenError(f"The operation needs the scope `{scope.value}`.")


def job_of(detail: JobDetail) -> Job:
    """Return the job without what is told of one alone: its place in the queue and its log."""
    return Job(**{field.name: getattr(detail, field.name) for field in msgspec.structs.fields(Job)})
