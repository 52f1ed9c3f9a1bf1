"""The audit log: who did what, when and from where."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

AuditOutcomeName = Literal["done", "denied"]

AUDIT_OUTCOMES: Final[tuple[AuditOutcomeName, ...]] = ("done", "denied")


class Actor(msgspec.Struct, frozen=True):
    """Who acted, and from where."""

    kind: str
    """`key`, `operator`, `search_token`, `system`."""
    key_id: UUID | None = None
    address: str | None = None
    """IP address that the request came from."""
    request_id: str | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry of a log. `hash` is over everything else in it, `previous_hash` included."""

    number: int
    """From 1, without gaps."""
    at: datetime
    actor: Actor
    action: str
    """`<entity>.<verb>`, such as `api_key.created`."""
    target: str
    """What it was done to: an id, a slug, a name."""
    outcome: str
    """`done` or `denied`."""
    previous_hash: str
    hash: str
    before: dict[str, object] | None = None
    after: dict[str, object] | None = None
    """What is told of the target, before the act and after it."""


class AuditPage(msgspec.Struct, frozen=True):
    """Some entries, latest first, and where to go on."""

    entries: list[AuditEntry]
    next_cursor: str | None = None


class AuditVerdict(msgspec.Struct, frozen=True):
    """Whether a log is as it was written.

    Keep `head_number` and `head_hash` elsewhere: a log that was written anew as a whole has others.
    """

    intact: bool
    entries: int
    head_number: int
    head_hash: str
    first_fault: int | None = None
    """Number of the first entry that is changed or missing."""
    fault: str = ""
