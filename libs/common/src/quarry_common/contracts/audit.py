"""The audit log: who did what, when and from where; one chain of hashes per tenant."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.rpc import Nothing, RpcMethod

Facts = dict[str, Any]
"""What is told of a thing, as JSON; never a secret, never a document's text."""


class ActorKind(StrEnum):
    """Who acts."""

    KEY = "key"
    """A tenant's API key."""
    OPERATOR = "operator"
    """The operator's key, for itself or for a tenant."""
    SEARCH_TOKEN = "search_token"  # noqa: S105 - no secret
    SYSTEM = "system"
    """The platform by itself, such as a purge when the grace is over."""


class Actor(msgspec.Struct, frozen=True):
    """Who asks for a change, and from where."""

    kind: ActorKind = ActorKind.SYSTEM
    key_id: UUID | None = None
    address: str | None = None
    """IP address that the request came from."""
    request_id: str | None = None


class AuditOutcome(StrEnum):
    """What became of it."""

    DONE = "done"
    DENIED = "denied"


class AuditAct(msgspec.Struct, frozen=True):
    """Something to be written down. `action` is `<entity>.<verb>`, such as `api_key.created`."""

    tenant_id: UUID
    actor: Actor
    action: str
    target: str
    """What it was done to: an id, a slug, a name."""
    outcome: AuditOutcome = AuditOutcome.DONE
    before: Facts | None = None
    after: Facts | None = None
    at: datetime | None = None
    """When; None is the moment at which it is written."""
    id: UUID | None = None
    """Lets a repetition count once, for two hours."""


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry of a tenant's log. `hash` is over everything else in it, `previous_hash` included."""

    number: int
    """From 1, without gaps."""
    at: datetime
    actor: Actor
    action: str
    target: str
    outcome: AuditOutcome
    before: Facts | None
    after: Facts | None
    previous_hash: str
    hash: str


class RecordActs(msgspec.Struct, frozen=True):
    """Asks that acts be written down, in their order; for those of other services."""

    acts: list[AuditAct]


class ListAudit(msgspec.Struct, frozen=True):
    """Asks for entries of a tenant, latest first; what is None does not narrow."""

    tenant_id: UUID
    limit: int = 50
    cursor: str | None = None
    action: str | None = None
    """The action, or its entity, such as `api_key`."""
    outcome: AuditOutcome | None = None


class AuditPage(msgspec.Struct, frozen=True):
    """Some entries and where to go on."""

    entries: list[AuditEntry]
    next_cursor: str | None = None


class VerifyAudit(msgspec.Struct, frozen=True):
    """Asks whether a tenant's log is as it was written."""

    tenant_id: UUID


class AuditVerdict(msgspec.Struct, frozen=True):
    """Whether the chain holds. Keep `head_hash` elsewhere: with it, a log rewritten as a whole shows, too."""

    intact: bool
    entries: int
    head_number: int
    head_hash: str
    first_fault: int | None = None
    """Number of the first entry that is changed or missing."""
    fault: str = ""


MAX_OWNED = 20
"""Ids that may be looked up at a time."""


class OwnersOf(msgspec.Struct, frozen=True):
    """Asks which tenants documents, jobs, keys or webhooks belong to: for the audit of attempts on foreign
    ids, never for who made the attempt."""

    ids: Annotated[list[UUID], Meta(max_length=MAX_OWNED)]


class Owners(msgspec.Struct, frozen=True):
    """The tenants by id; ids of nothing are left out."""

    tenants: dict[str, UUID]


RECORD_ACTS = RpcMethod("tenants", "record_acts", RecordActs, Nothing)
LIST_AUDIT = RpcMethod("tenants", "list_audit", ListAudit, AuditPage)
VERIFY_AUDIT = RpcMethod("tenants", "verify_audit", VerifyAudit, AuditVerdict)
OWNERS_OF = RpcMethod("indexer", "owners_of", OwnersOf, Owners)
OWNERS_OF_KEYS = RpcMethod("tenants", "owners_of_keys", OwnersOf, Owners)
OWNERS_OF_WEBHOOKS = RpcMethod("webhooks", "owners_of", OwnersOf, Owners)
