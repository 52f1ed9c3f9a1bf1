"""Rules of keys: what may be asked for, and whom a key stands for."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.api_keys import ApiKey, CreateKey, Grant, Principal
from quarry_common.contracts.audit import ActorKind
from quarry_common.contracts.tenancy import TENANT_SCOPES, Quotas, Scope, TenantState
from quarry_common.errors import FieldError, ForbiddenError, UnauthenticatedError
from quarry_tenants.domain.checks import CONTROL, listed_errors, name_errors, refuse

COLLECTION_SCOPES: Final = frozenset(
    {
        Scope.SEARCH,
        Scope.DOCUMENTS_READ,
        Scope.DOCUMENTS_WRITE,
        Scope.COLLECTIONS_READ,
        Scope.COLLECTIONS_WRITE,
    }
)
"""Those that end at a collection."""
MAX_METADATA_ENTRIES: Final = 50
MAX_METADATA_NAME_LENGTH: Final = 100
MAX_METADATA_VALUE_LENGTH: Final = 500
MAX_NETWORKS: Final = 100
MAX_RATE: Final = 1_000_000
MAX_LIFETIME: Final = timedelta(days=36_525)
"""A hundred years: later times do not survive every change of time zone."""
MAX_OVERLAP: Final = timedelta(days=30)

_Network = IPv4Network | IPv6Network


class StoredKey(msgspec.Struct, frozen=True):
    """What the database knows of a key by its hash. An operator's key has no tenant."""

    id: UUID
    grant: Grant
    revoked_at: datetime | None = None
    requests_per_second: int | None = None
    rate_bucket: UUID | None = None
    tenant_id: UUID | None = None
    tenant_slug: str | None = None
    tenant_state: TenantState = TenantState.ACTIVE
    quotas: Quotas | None = None
    cors_origins: tuple[str, ...] = ()


def principal_of(key: StoredKey | None, now: datetime) -> Principal:
    """Return whom `key` stands for at `now`. Raises `UnauthenticatedError` when it stands for nobody."""
    if key is None:
        raise UnauthenticatedError(
            "The API key is not known here.",
            advice="Check that the key is of this installation, or ask for a new one.",
        )
    if key.revoked_at is not None:
        raise UnauthenticatedError(
            f"The API key was revoked at {_moment(key.revoked_at)}.", advice="Ask for a new key."
        )
    expires_at = key.grant.expires_at
    if expires_at is not None and expires_at <= now:
        raise UnauthenticatedError(
            f"The API key expired at {_moment(expires_at)}.", advice="Ask for a new key."
        )
    if key.tenant_state is not TenantState.ACTIVE:
        raise UnauthenticatedError(
            f"The tenant {key.tenant_slug} is disabled.", advice="Ask the operator of this installation."
        )
    return Principal(
        key_id=key.id,
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant_slug,
        scopes=key.grant.scopes,
        expires_at=expires_at,
        collections=key.grant.collections,
        networks=key.grant.networks,
        principals=key.grant.principals,
        requests_per_second=key.requests_per_second,
        rate_bucket=key.rate_bucket,
        quotas=key.quotas,
        cors_origins=key.cors_origins,
        kind=ActorKind.OPERATOR if key.tenant_id is None else ActorKind.KEY,
    )


def state_of(key: ApiKey, now: datetime) -> str:
    """Return whether the key would be let in at `now`, as `KeyVerdict.code` tells it."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "valid"


def checked(request: CreateKey, now: datetime) -> CreateKey:
    """Return the request with its networks in their canonical form.

    Raises `ValidationError`, or `ForbiddenError` when the key would be allowed more than its maker.
    """
    grant = request.grant
    errors = name_errors(request.name)
    if not grant.scopes:
        errors.append(FieldError("scopes", f"must hold at least one of {_listed(TENANT_SCOPES)}"))
    if Scope.PLATFORM in grant.scopes:
        errors.append(FieldError("scopes", "`platform` is the operator's alone; no tenant's key can have it"))
    if grant.collections is not None and (beyond := grant.scopes - COLLECTION_SCOPES):
        message = (
            f"a key that is bound to collections cannot have {_listed(beyond)}: they are of the whole tenant"
        )
        errors.append(FieldError("scopes", message))
    errors += _metadata_errors(request.metadata)
    errors += _expiry_errors(grant.expires_at, now)
    errors += listed_errors("collections", grant.collections)
    errors += listed_errors("principals", grant.principals)
    if request.requests_per_second is not None and not 1 <= request.requests_per_second <= MAX_RATE:
        errors.append(FieldError("requests_per_second", f"must be 1 to {MAX_RATE}"))
    networks, wrong = _networks(grant.networks)
    refuse(errors + wrong)
    require_within(grant, request.maker)
    grant = msgspec.structs.replace(grant, networks=tuple(str(network) for network in networks))
    return msgspec.structs.replace(request, grant=grant)


def require_within(grant: Grant, maker: Grant) -> None:
    """Raise `ForbiddenError` when `grant` allows what `maker` does not hold."""
    missing = grant.scopes - grantable(maker.scopes)
    if missing:
        raise ForbiddenError(
            f"A key cannot grant what it does not hold itself: {_listed(missing)}.",
            advice="Leave these scopes out, or use a key that has them.",
        )
    if maker.collections is not None and not (grant.collections or set()) <= maker.collections:
        raise _beyond("collections")
    if maker.collections is not None and grant.collections is None:
        raise _beyond("collections")
    if maker.principals and not grant.principals <= maker.principals:
        raise _beyond("principals")
    if maker.networks and not _contained(grant.networks, maker.networks):
        raise _beyond("networks")
    if maker.expires_at is not None and (grant.expires_at is None or grant.expires_at > maker.expires_at):
        raise _beyond("expires_at")


def grantable(granted_by: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes that a holder of `granted_by` may give; the operator may give every tenant's."""
    return TENANT_SCOPES if Scope.PLATFORM in granted_by else granted_by & TENANT_SCOPES


def grant_of(key: ApiKey) -> Grant:
    """Return what the key may."""
    return Grant(
        scopes=frozenset(key.scopes),
        collections=None if key.collections is None else frozenset(key.collections),
        networks=tuple(key.networks),
        principals=frozenset(key.principals),
        expires_at=key.expires_at,
    )


def overlap_end(key: ApiKey, overlap_seconds: int, now: datetime) -> datetime:
    """Return until when a key goes on beside the one that replaces it. Raises `ValidationError`."""
    if not 0 <= overlap_seconds <= MAX_OVERLAP.total_seconds():
        refuse([FieldError("overlap_seconds", f"must be 0 to {MAX_OVERLAP.total_seconds():.0f}")])
    end = now + timedelta(seconds=overlap_seconds)
    return end if key.expires_at is None else min(end, key.expires_at)


def _beyond(bound: str) -> ForbiddenError:
    return ForbiddenError(
        f"The key's {bound} would go beyond those of the key that makes it.",
        advice=f"Narrow `{bound}`, or use a key that is not limited in it.",
    )


def _networks(given: tuple[str, ...]) -> tuple[list[_Network], list[FieldError]]:
    if len(given) > MAX_NETWORKS:
        return [], [FieldError("networks", f"must be at most {MAX_NETWORKS}")]
    networks: list[_Network] = []
    errors: list[FieldError] = []
    for index, text in enumerate(given):
        try:
            networks.append(ip_network(text))
        except ValueError:
            message = "must be a network such as 203.0.113.0/24 or 2001:db8::/32, with no bits beyond it"
            errors.append(FieldError(f"networks[{index}]", message))
    return networks, errors


def _contained(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    if not inner:
        return False
    around = [ip_network(text) for text in outer]
    return all(any(_is_within(ip_network(text), each) for each in around) for text in inner)


def _is_within(inner: _Network, outer: _Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _metadata_errors(metadata: Mapping[str, str]) -> list[FieldError]:
    if len(metadata) > MAX_METADATA_ENTRIES:
        return [FieldError("metadata", f"must have at most {MAX_METADATA_ENTRIES} entries")]
    rules: tuple[tuple[Callable[[str, str], bool], str], ...] = (
        (
            lambda name, _: not 1 <= len(name) <= MAX_METADATA_NAME_LENGTH,
            f"a name must be 1 to {MAX_METADATA_NAME_LENGTH} characters",
        ),
        (
            lambda _, value: len(value) > MAX_METADATA_VALUE_LENGTH,
            f"a value must be at most {MAX_METADATA_VALUE_LENGTH} characters",
        ),
        (
            lambda name, value: bool(CONTROL.search(name)) or "\0" in value,
            "must not hold NUL, nor a name any control character",
        ),
    )
    return [
        FieldError(f"metadata.{CONTROL.sub('?', name[:MAX_METADATA_NAME_LENGTH])}", message)
        for name, value in metadata.items()
        for broken, message in rules
        if broken(name, value)
    ]


def _expiry_errors(expires_at: datetime | None, now: datetime) -> list[FieldError]:
    if expires_at is None:
        return []
    if expires_at.tzinfo is None:
        return [FieldError("expires_at", "must name its time zone, such as 2027-01-31T12:00:00Z")]
    if expires_at <= now:
        return [FieldError("expires_at", f"must be in the future; it is {_moment(now)} now")]
    if expires_at > now + MAX_LIFETIME:
        return [FieldError("expires_at", "must be within a hundred years; leave it out for a lasting key")]
    return []


def _listed(scopes: frozenset[Scope]) -> str:
    return ", ".join(sorted(scopes))


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
