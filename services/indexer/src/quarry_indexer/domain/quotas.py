"""Quotas of documents and storage: what still fits, and what is told of how far they are used."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from quarry_common.contracts.documents import Room
from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import Quota
from quarry_indexer.domain.errors import NoRoomError

THRESHOLD_PERCENT = 80
COUNTED = (Quota.DOCUMENTS, Quota.STORAGE)
MIB = 1 << 20

QuotaEvent = QuotaThresholdReached | QuotaExceeded


class Usage(msgspec.Struct, frozen=True):
    """What a tenant has, or by how much that changes: documents, and bytes of their latest versions."""

    documents: int = 0
    storage_bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.documents + other.documents, self.storage_bytes + other.storage_bytes)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.documents - other.documents, self.storage_bytes - other.storage_bytes)

    def of(self, quota: Quota) -> int:
        """Return the part that `quota` limits."""
        return self.documents if quota is Quota.DOCUMENTS else self.storage_bytes


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was told of a quota while it had this limit."""

    limit: int
    threshold: bool = False
    exceeded: bool = False


ToldOf = Mapping[Quota, Told]


def limit_of(room: Room, quota: Quota) -> int | None:
    """Return the limit of `quota`, in documents or bytes."""
    return room.documents if quota is Quota.DOCUMENTS else room.storage_bytes


def exceeded(used: Usage, growth: Usage, room: Room) -> Quota | None:
    """Return the quota that `growth` would exceed. What does not grow always fits, also beyond a limit."""
    for quota in COUNTED:
        limit, more = limit_of(room, quota), growth.of(quota)
        if limit is not None and more > 0 and used.of(quota) + more > limit:
            return quota
    return None


def refusal(quota: Quota, used: Usage, growth: Usage, room: Room) -> NoRoomError:
    """Return the error that says why a document does not fit."""
    limit, has, more = limit_of(room, quota), used.of(quota), growth.of(quota)
    if quota is Quota.DOCUMENTS:
        return NoRoomError(quota, f"The quota `{quota}` is {limit} documents, and {has} are used.")
    return NoRoomError(
        quota,
        f"The quota `{quota}` is {(limit or 0) / MIB:g} MiB, which is {limit} bytes; {has} are used, and "
        f"{more} more are needed.",
    )


def tell(
    told: ToldOf, used: Usage, room: Room, refused: Collection[Quota] = ()
) -> tuple[dict[Quota, Told], list[QuotaEvent]]:
    """Return what has been told once the events are, and the events: each once until use falls below the
    threshold or the limit is raised. A quota for which something was `refused` is exceeded."""
    after: dict[Quota, Told] = {}
    events: list[QuotaEvent] = []
    for quota in COUNTED:
        limit = limit_of(room, quota)
        if limit is None:
            continue
        before = told.get(quota)
        if before is None or limit > before.limit:
            before = Told(limit)
        has = used.of(quota)
        reached = before.threshold or (has > 0 and _above_threshold(has, limit))
        full = before.exceeded or quota in refused or (has > 0 and has >= limit)
        if reached and not before.threshold:
            events.append(QuotaThresholdReached(quota, limit, has, THRESHOLD_PERCENT))
        if full and not before.exceeded:
            events.append(QuotaExceeded(quota, limit, has))
        if reached or full:
            after[quota] = Told(limit, reached, full)
    return after, events


def fallen(told: ToldOf, used: Usage, growth: Usage) -> dict[Quota, Told]:
    """Return what has still been told after use changed by `growth`: nothing of what fell below its
    threshold."""
    return dict(_still_told(told, used, growth))


def _still_told(told: ToldOf, used: Usage, growth: Usage) -> Iterator[tuple[Quota, Told]]:
    for quota, each in told.items():
        if growth.of(quota) >= 0 or _above_threshold(used.of(quota), each.limit):
            yield quota, each


def _above_threshold(used: int, limit: int) -> bool:
    return used * 100 >= limit * THRESHOLD_PERCENT
