"""Emptying the caches of every process from outside, of one tenant or of all."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec

from quarry_common.contracts.caches import FORGET, PURGE_REDIS, CacheForgotten, ForgetCached, PurgeRedis
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient

GATHER_SECONDS = 0.5
"""For which answers of all processes are awaited: one that takes longer is taken for absent."""
PURGE_SECONDS = 32.0
"""The cache itself gives up after half a minute."""


class Emptied(msgspec.Struct, frozen=True):
    """What was forgotten, by whom."""

    answered: int
    """Processes."""
    instances: list[CacheForgotten]
    memory_entries: int
    redis_entries: int
    complete: bool
    """Whether Redis was gone through to its end, and whoever answered at first answered to the last."""


async def empty(rpc: RpcClient, tenant_id: UUID | None, *, gather_seconds: float = GATHER_SECONDS) -> Emptied:
    """Empty memory and Redis of what is cached for a tenant, or for all.

    Everybody forgets, then Redis is emptied, then everybody forgets what was found in it meanwhile.
    Raises `UnavailableError` when no search service runs or the bus is away, and `RemoteError`; it may be
    asked again.
    """
    asked = ForgetCached(tenant_id, new_id())
    before = await rpc.gather(FORGET, asked, seconds=gather_seconds)
    removed = await rpc.call(PURGE_REDIS, PurgeRedis(tenant_id), timeout_seconds=PURGE_SECONDS)
    after = await rpc.gather(FORGET, asked, seconds=gather_seconds)
    return Emptied(
        answered=len(after),
        instances=_together([*before, *after]),
        memory_entries=sum(each.entries for each in (*before, *after)),
        redis_entries=removed.entries,
        complete=removed.complete and _names(before) <= _names(after),
    )


def _names(told: Sequence[CacheForgotten]) -> set[tuple[str, str]]:
    return {(each.service, each.instance) for each in told}


def _together(told: Sequence[CacheForgotten]) -> list[CacheForgotten]:
    entries: Counter[tuple[str, str]] = Counter()
    for each in told:
        entries[each.service, each.instance] += each.entries
    return [
        CacheForgotten(service, instance, count) for (service, instance), count in sorted(entries.items())
    ]
