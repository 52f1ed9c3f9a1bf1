"""Rules of purges: when one is complete, when it goes on, what its receipt says."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.contracts.purging import Counts, Purged, PurgeReceipt

CLEAN_PASSES: Final = 2
"""Passes in a row through every store after which nothing was left; whatever is removed begins them anew."""
LONGEST_PAUSE_SECONDS: Final = 60.0
_NO_ANSWER: Final = "no_answer."


class Purge(msgspec.Struct, frozen=True):
    """A purge as it is stored. `left_over` is by store, then by what the store counts."""

    tenant_id: UUID
    slug: str
    requested_at: datetime
    started_at: datetime
    finished_at: datetime | None
    removed: Counts
    left_over: dict[str, Counts]
    clean_passes: int
    failures: int
    """Rounds in a row that came no further."""
    go_on_at: datetime
    audit_entries: int
    audit_head_hash: bytes


def added(counts: Iterable[Counts]) -> Counts:
    """Return the sums; what is zero stays named."""
    total: Counter[str] = Counter()
    for each in counts:
        for name, count in each.items():
            total[name] += count
    return dict(sorted(total.items()))


def is_empty(counts: Counts) -> bool:
    """Return whether all are zero."""
    return not any(counts.values())


def silence(service: str) -> Purged:
    """Return what stands for the answer of a service that gave none."""
    return Purged({}, {f"{_NO_ANSWER}{service}": 1})


def is_silent(done: Purged) -> bool:
    """Return whether it stands for an answer that was not given."""
    return any(name.startswith(_NO_ANSWER) for name in done.left)


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after rounds that came no further: doubling with each, at most a minute."""
    return timedelta(seconds=min(2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS))


def receipt_of(purge: Purge) -> PurgeReceipt:
    """Return what may be told of a purge."""
    left = added(purge.left_over.values())
    return PurgeReceipt(
        tenant_id=purge.tenant_id,
        slug=purge.slug,
        requested_at=purge.requested_at,
        started_at=purge.started_at,
        finished_at=purge.finished_at,
        removed=purge.removed,
        left=left,
        verified=purge.finished_at is not None and purge.clean_passes >= CLEAN_PASSES and is_empty(left),
        audit_entries=purge.audit_entries,
        audit_head_hash=purge.audit_head_hash.hex(),
    )
