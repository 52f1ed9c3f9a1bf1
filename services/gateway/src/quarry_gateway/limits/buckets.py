"""What is limited: the requests of a key and those of a tenant, each by class of endpoints."""

from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.audit import ActorKind
from quarry_gateway.domain import Caller
from quarry_gateway.limits.gcra import Limit, limit_of


class Endpoint(StrEnum):
    """A class of endpoints. Each has buckets of its own, so that uploads do not hold searches back."""

    SEARCH = "search"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    INTERACTIONS = "interactions"
    """What browsers without a key tell."""


class Owner(StrEnum):
    """Whose requests a bucket counts."""

    KEY = "key"
    TENANT = "tenant"


class Bucket(msgspec.Struct, frozen=True):
    """One limit on the requests of one key or tenant to one class of endpoints."""

    owner: Owner
    owner_id: UUID
    endpoint: Endpoint
    limit: Limit

    @property
    def name(self) -> str:
        """What tells it from every other bucket."""
        return f"{self.owner.value}:{self.owner_id}:{self.endpoint.value}"

    @property
    def policy(self) -> str:
        """What headers call it; callers know their own key and tenant."""
        return f"{self.owner.value}-{self.endpoint.value}"


KEYLESS_LIMIT: Final = Limit(100, 1_000)
"""Events that browsers without a key may tell of one tenant's answers, a second and at once."""


def buckets_of(caller: Caller, endpoint: Endpoint) -> tuple[Bucket, ...]:
    """Return the buckets that a request of `caller` is charged to; none where nothing limits it.

    Keys that replace each other share a bucket. An operator's key has a limit of its own if any, whoever it
    acts for.
    """
    found = []
    own = limit_of(caller.requests_per_second, None)
    if own is not None:
        found.append(Bucket(Owner.KEY, caller.rate_bucket or caller.key_id, endpoint, own))
    quotas, tenant_id = caller.quotas, caller.tenant
    if quotas is not None and tenant_id is not None and caller.kind is not ActorKind.OPERATOR:
        shared = limit_of(quotas.requests_per_second, quotas.burst)
        if shared is not None:
            found.append(Bucket(Owner.TENANT, tenant_id, endpoint, shared))
    return tuple(found)
