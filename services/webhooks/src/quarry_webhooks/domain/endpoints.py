"""Rules of endpoints: what URLs, filters, headers and secrets may be, and what a change makes of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import msgspec

from quarry_common.contracts.events import Way
from quarry_common.contracts.events.filters import filters_for
from quarry_common.contracts.webhooks import (
    MAX_OVERLAP_HOURS,
    DisabledReason,
    EndpointChanges,
    NewEndpoint,
)
from quarry_common.errors import FieldError, PreconditionFailedError, ValidationError
from quarry_webhooks import signing
from quarry_webhooks.egress.urls import Policy, permitted

RESERVED_HEADERS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
        "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "traceparent", "tracestate",
        "trailer", "transfer-encoding", "upgrade", "user-agent",
    }
)  # fmt: skip
RESERVED_PREFIX: Final = "webhook-"
MAX_HEADER_BYTES: Final = 8_192


class UrlRules(Protocol):
    """What the operator lets URLs be."""

    @property
    def policy(self) -> Policy:
        """What deliveries may reach."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of an endpoint by its owner; secrets and headers are sealed."""

    id: UUID
    tenant_id: UUID
    url: str
    description: str
    event_types: list[str]
    header_names: list[str]
    headers: bytes
    secret: bytes
    previous_secret: bytes | None = None
    previous_until: datetime | None = None
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None = None
    ordered: bool
    requests_per_second: int | None
    revision: int = 1


def checked_url(url: str, rules: UrlRules) -> str:
    """Return a URL that an endpoint may have. Names are resolved, and judged, at each attempt.

    Raises `ValidationError`.
    """
    permitted(url, rules.policy)
    return url


def check_new(endpoint: NewEndpoint, rules: UrlRules) -> None:
    """Raise `ValidationError` when there may be no such endpoint."""
    errors = _filter_errors(endpoint.event_types) + _header_errors(endpoint.headers)
    _refuse(errors + _secret_errors(endpoint.secret), endpoint.url, rules)


def check_changes(changes: EndpointChanges, rules: UrlRules) -> None:
    """Raise `ValidationError` when an endpoint may not become so."""
    errors: list[FieldError] = []
    if changes.event_types is not msgspec.UNSET:
        if not changes.event_types:
            errors.append(FieldError("event_types", "must not be empty; `*` is all"))
        errors += _filter_errors(changes.event_types)
    if changes.headers is not msgspec.UNSET:
        errors += _header_errors(changes.headers)
    _refuse(errors, None if changes.url is msgspec.UNSET else changes.url, rules)


def check_rotation(secret: str | None, overlap_hours: float) -> None:
    """Raise `ValidationError` for a secret that is none, or too long an overlap."""
    errors = _secret_errors(secret)
    if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
        errors.append(FieldError("overlap_hours", f"must be 0 to {MAX_OVERLAP_HOURS}"))
    if errors:
        raise _wrong(errors)


def require(revision: int | None, present: int) -> None:
    """Raise `PreconditionFailedError` unless the endpoint is at the revision that may be changed."""
    if revision is not None and revision != present:
        raise PreconditionFailedError(
            f"The endpoint has revision {present} now.",
            advice="Read the endpoint again, take its present ETag and decide again.",
        )


def changed(before: Stored, changes: EndpointChanges, sealed_headers: bytes | None, now: datetime) -> Stored:
    """Return what `changes` make of an endpoint; `sealed_headers` are those in them, sealed."""
    given = {
        name: value
        for name, value in msgspec.structs.asdict(changes).items()
        if value is not msgspec.UNSET and name not in {"headers", "enabled"}
    }
    if changes.headers is not msgspec.UNSET and sealed_headers is not None:
        given |= {"headers": sealed_headers, "header_names": list(changes.headers)}
    if changes.enabled is True:
        given |= {"enabled": True, "disabled_reason": None, "disabled_at": None}
    if changes.enabled is False and before.disabled_reason is not DisabledReason.OWNER:
        given |= {"enabled": False, "disabled_reason": DisabledReason.OWNER, "disabled_at": now}
    after = msgspec.structs.replace(before, **given)
    return before if after == before else msgspec.structs.replace(after, revision=before.revision + 1)


def rotated(before: Stored, sealed_secret: bytes, overlap_hours: float, now: datetime) -> Stored:
    """Return the endpoint with a new secret; the one before signs, too, until the overlap is over."""
    overlap = timedelta(hours=overlap_hours)
    return msgspec.structs.replace(
        before,
        secret=sealed_secret,
        previous_secret=before.secret if overlap else None,
        previous_until=now + overlap if overlap else None,
        revision=before.revision + 1,
    )


def _filter_errors(filters: Iterable[str]) -> list[FieldError]:
    known = filters_for(Way.WEBHOOKS)
    return [
        FieldError(
            f"event_types[{place}]", f"{each!r} is no type of event; GET /api/webhooks/event-types lists all"
        )
        for place, each in enumerate(filters)
        if each not in known
    ]


def is_reserved(header: str) -> bool:
    """Whether the platform sets a header itself, so that an endpoint may not."""
    return header.lower() in RESERVED_HEADERS or header.lower().startswith(RESERVED_PREFIX)


def _header_errors(headers: Mapping[str, str]) -> list[FieldError]:
    errors = [
        FieldError(f"headers.{name}", "is set by the platform") for name in headers if is_reserved(name)
    ]
    if len({name.lower() for name in headers}) < len(headers):
        errors.append(FieldError("headers", "must name each header once, in capitals or not"))
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADER_BYTES:
        errors.append(FieldError("headers", f"must be at most {MAX_HEADER_BYTES} characters together"))
    return errors


def _secret_errors(secret: str | None) -> list[FieldError]:
    try:
        if secret is not None:
            signing.key_of(secret)
    except ValueError as error:
        return [FieldError("secret", str(error))]
    return []


def _refuse(errors: list[FieldError], url: str | None, rules: UrlRules) -> None:
    if url is not None:
        try:
            checked_url(url, rules)
        except ValidationError as error:
            errors = [*error.data.errors, *errors]
    if errors:
        raise _wrong(errors)


def _wrong(errors: list[FieldError]) -> ValidationError:
    return ValidationError("The request is not valid.", errors=errors)
