"""Rules of custom domains: which names may be claimed, and what a look at the DNS means for one."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import idna
import msgspec

from quarry_common.contracts.domains import Domain, DomainState
from quarry_common.errors import ConflictError, FieldError
from quarry_tenants.domain.checks import refuse

MAX_DOMAINS: Final = 20
"""Of one tenant."""
CHALLENGE: Final = "_quarry-challenge."
VALUE: Final = "quarry-domain-verification="
MAX_LENGTH: Final = 253 - len(CHALLENGE)
"""Of a name, so that its challenge is a name of the DNS still."""
TOKEN_BYTES: Final = 32
LAPSES_AFTER: Final = timedelta(hours=72)
MAX_SHOWN: Final = 100
"""Characters of other records that are told."""
UNANSWERED: Final = "The DNS servers did not answer; the record was not looked at."
TAKEN: Final = "The record is right, but the name is verified for another tenant."


class StoredDomain(msgspec.Struct, frozen=True):
    """A claim as the database has it. `missing_since`: when the record of a verified one was first missed."""

    name: str
    token: str
    state: DomainState
    created_at: datetime
    verified_at: datetime | None = None
    checked_at: datetime | None = None
    missing_since: datetime | None = None
    problem: str = ""


class Outcome(StrEnum):
    """What a look at the DNS came to."""

    FOUND = "found"
    NO_NAME = "no_name"
    NO_RECORD = "no_record"
    """The name exists, without a TXT record."""
    UNANSWERED = "unanswered"
    """Nobody answered, or not clearly: it is not known what there is."""


class Lookup(msgspec.Struct, frozen=True):
    """What the TXT records of a name hold."""

    outcome: Outcome
    values: tuple[str, ...] = ()


def canonical(name: str, reserved: Sequence[str] = ()) -> str:
    """Return a host name in small letters and A-labels (RFC 5891), without a dot at its end.

    Raises `ValidationError` for what cannot be one, for an IP address, a single label, and a name that is or
    ends in one of the suffixes `reserved`.
    """
    found = _ascii(name)
    if found is None or "." not in found or _is_number(found.rpartition(".")[2]):
        refuse([FieldError("name", "must be a domain name without scheme or port: search.acme.example")])
    assert found is not None  # noqa: S101 - refused above
    if len(found) > MAX_LENGTH:
        refuse([FieldError("name", f"must be at most {MAX_LENGTH} characters long")])
    if any(f".{found}".endswith(f".{suffix}") for suffix in reserved):
        refuse([FieldError("name", "is reserved by the operator of this installation")])
    return found


def host_name(host: str) -> str | None:
    """Return the name in a `Host` header in its canonical form, or None when there is none in it."""
    name, colon, port = host.rpartition(":")
    return _ascii(name if colon and port.isascii() and port.isdigit() else host)


def suffixes(text: str) -> tuple[str, ...]:
    """Return the suffixes that `text` lists with commas. Raises `ValueError` when one cannot be a name."""
    given = [part.strip().removeprefix(".") for part in text.split(",") if part.strip()]
    found = {part: _ascii(part) for part in given}
    if wrong := [part for part, name in found.items() if name is None]:
        raise ValueError(f"{wrong[0]!r} is not a domain name")
    return tuple(name for name in found.values() if name is not None)


def new_token() -> str:
    """Return what a challenge asks for; nobody can have put it into the DNS before."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def record_name(name: str) -> str:
    """Return where the TXT record of a claim to `name` is looked for."""
    return CHALLENGE + name


def record_value(token: str) -> str:
    """Return what it has to hold."""
    return VALUE + token


def told(domain: StoredDomain) -> Domain:
    """Return the claim as its tenant may see it."""
    return Domain(
        name=domain.name,
        state=domain.state,
        record_name=record_name(domain.name),
        record_value=record_value(domain.token),
        created_at=domain.created_at,
        verified_at=domain.verified_at,
        checked_at=domain.checked_at,
        problem=domain.problem,
    )


def check_room(count: int) -> None:
    """Raise `ConflictError` when a tenant with `count` domains may have no more."""
    if count >= MAX_DOMAINS:
        raise ConflictError(
            f"The tenant has {MAX_DOMAINS} domains, which is as many as it may have.",
            advice="Remove those that are no longer needed.",
        )


def judged(domain: StoredDomain, lookup: Lookup, now: datetime) -> StoredDomain:
    """Return the claim after a look at the DNS.

    The right record verifies it. One that is missing for 72 hours lets a verified claim lapse, at a look that
    finds it missing still. A look that nobody answered changes nothing but what is told.
    """
    if lookup.outcome is Outcome.UNANSWERED:
        return msgspec.structs.replace(domain, checked_at=now, problem=UNANSWERED)
    if record_value(domain.token) in lookup.values:
        verified_at = domain.verified_at if domain.state is DomainState.VERIFIED else now
        return msgspec.structs.replace(
            domain,
            state=DomainState.VERIFIED,
            verified_at=verified_at,
            checked_at=now,
            missing_since=None,
            problem="",
        )
    missed = msgspec.structs.replace(domain, checked_at=now, problem=_problem(domain.name, lookup))
    if domain.state is not DomainState.VERIFIED:
        return missed
    since = domain.missing_since or now
    lapses = now - since >= LAPSES_AFTER
    state = DomainState.LAPSED if lapses else DomainState.VERIFIED
    return msgspec.structs.replace(missed, state=state, missing_since=since)


def taken(domain: StoredDomain, now: datetime) -> StoredDomain:
    """Return the claim after a look that found the right record for a name that is verified for another."""
    return msgspec.structs.replace(domain, checked_at=now, problem=TAKEN)


def _problem(name: str, lookup: Lookup) -> str:
    where = record_name(name)
    if lookup.outcome is Outcome.NO_NAME:
        return f"There is no name {where} in the DNS."
    if lookup.outcome is Outcome.NO_RECORD:
        return f"The name {where} has no TXT record."
    held = " | ".join(lookup.values)[:MAX_SHOWN]
    shown = "".join(each if each.isprintable() else "?" for each in held)
    return f"The TXT record of {where} holds something else: {shown}"


def _ascii(name: str) -> str | None:
    if len(name) > 253:
        return None
    try:
        return idna.encode(name.removesuffix("."), uts46=True, std3_rules=True).decode()
    except UnicodeError:  # what `idna` raises is one
        return None


def _is_number(label: str) -> bool:
    # A name whose last label is a number is an IPv4 address to browsers (WHATWG URL, "ends in a number").
    return label.isdigit() or (label.startswith("0x") and not label[2:].strip("0123456789abcdef"))
