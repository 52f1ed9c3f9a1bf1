"""Every store that has something of a tenant, and how it is emptied: piece by piece, each with a deadline.

What a piece removed is added to the receipt. Of this service's own rows that is one transaction, and exact.
Of the others it is done once they have answered: a kill between the two, or an answer that comes too late,
leaves the receipt with fewer than were removed. Nothing is counted twice: who empties a store tells what it
found there itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from nats.aio.client import Client

from quarry_common.cache.emptying import GATHER_SECONDS, empty
from quarry_common.contracts.analytics import PURGE_ANALYTICS
from quarry_common.contracts.purging import PURGE_DOCUMENTS, Counts, Purged, PurgeTenant
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.streams import subjects_of_tenant
from quarry_common.contracts.webhooks import PURGE_WEBHOOKS
from quarry_common.errors import UnavailableError
from quarry_common.messaging.erasing import erase
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres.pool import Database
from quarry_tenants.domain.purges import added
from quarry_tenants.repository import purges

PIECE_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
"""For a piece to be removed and to be told of."""
BATCH: Final = 1_000


class Store(msgspec.Struct, frozen=True):
    """A store by name, the service that answers for it, and what removes a piece of what is in it."""

    name: str
    service: str
    remove: Callable[[UUID], Awaitable[Purged]]
    """What it removed is in the receipt when it returns. Raises `QuarryError`; harmless to repeat."""


class Stores:
    """The stores of one installation.

    In this order: keys, domains and what else is told of a tenant here need not wait for its documents; what
    is cached comes from documents, and messages from outboxes.
    """

    def __init__(self, database: Database, bus: Client, *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._database = database
        self._bus = bus
        self._rpc = RpcClient(bus)
        self._gather_seconds = gather_seconds

    def all(self) -> list[Store]:
        """Return them in the order in which they are emptied."""
        return [
            Store("rows", "tenants", self._rows),
            Store("documents", "indexer", partial(self._asked, PURGE_DOCUMENTS)),
            Store("webhooks", "webhooks", partial(self._asked, PURGE_WEBHOOKS)),
            Store("searches", "analytics", partial(self._asked, PURGE_ANALYTICS)),
            Store("cached", "search", self._cached),
            Store("messages", "message_bus", self._messages),
        ]

    async def _asked(self, method: RpcMethod[PurgeTenant, Purged], tenant_id: UUID) -> Purged:
        asked = PurgeTenant(tenant_id, PIECE_SECONDS)
        done = await self._rpc.call(method, asked, timeout_seconds=ANSWER_SECONDS)
        await self._count(tenant_id, done.removed)
        return done

    async def _rows(self, tenant_id: UUID) -> Purged:
        now = asyncio.get_running_loop().time
        until, removed = now() + PIECE_SECONDS, list[Counts]()
        for table in purges.TABLES:
            gone = BATCH
            while gone == BATCH and now() < until:
                async with self._database.worker_transaction() as worker:
                    gone = await purges.remove(worker, tenant_id, table, BATCH)
                    removed.append({f"postgres.tenants.{table}": gone})
                    await purges.count(worker, tenant_id, removed[-1])
        async with self._database.worker_transaction() as worker:
            return Purged(added(removed), await purges.left(worker, tenant_id))

    async def _cached(self, tenant_id: UUID) -> Purged:
        done = await empty(self._rpc, tenant_id, gather_seconds=self._gather_seconds)
        removed = {"cache.entries": done.memory_entries + done.redis_entries}
        await self._count(tenant_id, removed)
        if not done.complete:
            raise UnavailableError("Redis did not answer to the end, or a process with a cache fell silent.")
        return Purged(removed, {"cache.entries": 0})

    async def _messages(self, tenant_id: UUID) -> Purged:
        removed = left = 0
        for stream, subject in subjects_of_tenant(tenant_id):
            erased = await erase(self._bus, stream, subject)
            await self._count(tenant_id, {"streams.messages": erased.removed})
            removed, left = removed + erased.removed, left + erased.left
        return Purged({"streams.messages": removed}, {"streams.messages": left})

    async def _count(self, tenant_id: UUID, removed: Counts) -> None:
        # The worker role, because a tenant's own transactions are no place for what removes the tenant.
        async with self._database.worker_transaction() as worker:
            await purges.count(worker, tenant_id, removed)
