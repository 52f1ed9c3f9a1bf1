"""Rules of tenants and keys: what may be asked for, and whom a key stands for."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.tenancy import TENANT_SCOPES, CreateKey, CreateTenant, Principal, Scope
from quarry_common.errors import FieldError, ForbiddenError, UnauthenticatedError, ValidationError

MAX_NAME_LENGTH: Final = 200
MAX_PAGE: Final = 200
MAX_METADATA_ENTRIES: Final = 50
MAX_METADATA_NAME_LENGTH: Final = 100
MAX_METADATA_VALUE_LENGTH: Final = 500
MAX_LIFETIME: Final = timedelta(days=36_525)
"""A hundred years: later times do not survive every change of time zone."""

_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class StoredKey(msgspec.Struct, frozen=True):
    """What the database knows of a key by its hash. An operator's key has no tenant."""

    id: UUID
    scopes: frozenset[Scope]
    tenant_id: UUID | None = None
    tenant_slug: str | None = None
    tenant_disabled: bool = False
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


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
    if key.expires_at is not None and key.expires_at <= now:
        raise UnauthenticatedError(
            f"The API key expired at {_moment(key.expires_at)}.", advice="Ask for a new key."
        )
    if key.tenant_disabled:
        raise UnauthenticatedError(
            f"The tenant {key.tenant_slug} is disabled.", advice="Ask the operator of this installation."
        )
    return Principal(
        key_id=key.id,
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant_slug,
        scopes=key.scopes,
        expires_at=key.expires_at,
    )


def check_tenant(request: CreateTenant) -> None:
    """Raise `ValidationError` when no such tenant can be made."""
    errors = _name_errors(request.name)
    if not _SLUG.fullmatch(request.slug):
        errors.append(
            FieldError(
                "slug", "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or a digit"
            )
        )
    _refuse(errors)


def check_key(request: CreateKey, now: datetime) -> None:
    """Raise `ValidationError` or `ForbiddenError` when no such key can be made at `now`."""
    errors = _name_errors(request.name)
    if not request.scopes:
        errors.append(FieldError("scopes", f"must hold at least one of {_listed(TENANT_SCOPES)}"))
    if Scope.PLATFORM in request.scopes:
        errors.append(FieldError("scopes", "`platform` is the operator's alone; no tenant's key can have it"))
    errors += _metadata_errors(request.metadata)
    errors += _expiry_errors(request.expires_at, now)
    _refuse(errors)
    missing = request.scopes - grantable(request.granted_by)
    if missing:
        raise ForbiddenError(
            f"A key cannot grant what it does not hold itself: {_listed(missing)}.",
            advice="Leave these scopes out, or use a key that has them.",
        )


def grantable(granted_by: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes that a holder of `granted_by` may give; the operator may give every tenant's."""
    return TENANT_SCOPES if Scope.PLATFORM in granted_by else granted_by & TENANT_SCOPES


def check_limit(limit: int) -> int:
    """Return `limit`. Raises `ValidationError` when no page has that length."""
    if not 1 <= limit <= MAX_PAGE:
        _refuse([FieldError("limit", f"must be 1 to {MAX_PAGE}")])
    return limit


def _name_errors(name: str) -> list[FieldError]:
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        return [FieldError("name", f"must be 1 to {MAX_NAME_LENGTH} characters that are not all blank")]
    if _CONTROL.search(name):
        return [FieldError("name", "must not hold control characters")]
    return []


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
            lambda name, value: bool(_CONTROL.search(name)) or "\0" in value,
            "must not hold NUL, nor a name any control character",
        ),
    )
    return [
        FieldError(f"metadata.{_CONTROL.sub('?', name[:MAX_METADATA_NAME_LENGTH])}", message)
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


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise ValidationError("The request is not valid.", errors=errors)


def _listed(scopes: frozenset[Scope]) -> str:
    return ", ".join(sorted(scopes))


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
