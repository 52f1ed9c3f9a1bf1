"""Custom domains: a tenant shows by a TXT record that a name is its own; then the name stands for it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.audit import Actor
from quarry_common.contracts.rpc import RpcMethod

DomainName = Annotated[str, Meta(min_length=1, max_length=253, examples=["search.acme.example"])]


class DomainState(StrEnum):
    """What is known of a domain."""

    PENDING = "pending"
    """The record has not been seen yet."""
    VERIFIED = "verified"
    LAPSED = "lapsed"
    """The record was there and has been missing for days; the name stands for nobody."""


class Domain(msgspec.Struct, frozen=True):
    """A name that a tenant claims, and the TXT record that proves it."""

    name: str
    state: DomainState
    record_name: str
    record_value: str
    created_at: datetime
    verified_at: datetime | None = None
    checked_at: datetime | None = None
    problem: str = ""
    """What the last check found instead."""


class DomainRef(msgspec.Struct, frozen=True):
    """Names a tenant's domain."""

    tenant_id: UUID
    name: str
    idempotency_key: str | None = None
    actor: Actor = Actor()


class DomainsOf(msgspec.Struct, frozen=True):
    """Asks for a tenant's domains."""

    tenant_id: UUID


class Domains(msgspec.Struct, frozen=True):
    """A tenant's domains by name; there are few."""

    domains: list[Domain]


class ResolveHost(msgspec.Struct, frozen=True):
    """Asks whose domain this is."""

    host: str


class HostTenant(msgspec.Struct, frozen=True):
    """The tenant of a verified domain."""

    tenant_id: UUID
    slug: str
    cors_origins: tuple[str, ...] = ()


class ResolveOrigin(msgspec.Struct, frozen=True):
    """Asks whether any tenant's pages come from this origin: a browser's preflight carries no key."""

    origin: str


class KnownOrigin(msgspec.Struct, frozen=True):
    """Whether one does."""

    known: bool


REGISTER_DOMAIN = RpcMethod("tenants", "register_domain", DomainRef, Domain)
CHECK_DOMAIN = RpcMethod("tenants", "check_domain", DomainRef, Domain)
LIST_DOMAINS = RpcMethod("tenants", "list_domains", DomainsOf, Domains)
REMOVE_DOMAIN = RpcMethod("tenants", "remove_domain", DomainRef, Domain)
RESOLVE_HOST = RpcMethod("tenants", "resolve_host", ResolveHost, HostTenant)
RESOLVE_ORIGIN = RpcMethod("tenants", "resolve_origin", ResolveOrigin, KnownOrigin)
