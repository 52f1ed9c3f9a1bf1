"""The settings of tenants' collections, asked of the indexer and believed for half a minute."""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Final
from uuid import UUID

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from quarry_common.cache.flights import Flights
from quarry_common.contracts import subjects
from quarry_common.contracts.collections import SETTINGS, AllSettings, CollectionSettings, ListSettings
from quarry_common.contracts.filters import Filter
from quarry_common.errors import QuarryError
from quarry_common.messaging.rpc import RpcClient
from quarry_search.domain.tuning import Tuning, Tunings

log = logging.getLogger(__name__)

BELIEVED_SECONDS: Final = 30.0
"""A change is heard at once; this is for one that was not."""
ANSWER_SECONDS: Final = 1.0
MAX_TENANTS: Final = 5_000
MAX_PAGES: Final = 100


class _Known(msgspec.Struct, frozen=True):
    tunings: Tunings
    until: float


class TuningSource:
    """Tells how the collections of a tenant are searched. Belongs to one event loop.

    While the indexer does not answer, searches go on with what was known last, or as the platform does them.
    """

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._known: OrderedDict[UUID, _Known] = OrderedDict()
        self._flights: Flights[Tunings] = Flights()
        self._renewals: set[asyncio.Task[Tunings]] = set()

    async def of(self, tenant_id: UUID, filters: Filter | None) -> Tuning:
        """Return the tuning for a search of the tenant within `filters`."""
        known = self._known.get(tenant_id)
        if known is None:
            return (await self._renewed(tenant_id)).of(filters)
        if known.until < time.monotonic() and not self._flights.has(tenant_id):
            task = asyncio.create_task(self._renewed(tenant_id))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)
        return known.tunings.of(filters)

    def forget(self, tenant_id: UUID) -> None:
        """Ask anew for a tenant's settings, and do not believe what is on its way."""
        self._known.pop(tenant_id, None)
        self._flights = Flights()

    async def listen(self, connection: Client) -> None:
        """Forget the settings of each tenant whose collections change, from now on."""

        async def changed(message: Msg) -> None:
            try:
                self.forget(UUID(subjects.tenant_of(message.subject)))
            except ValueError:
                log.warning("an event of no tenant", extra={"subject": message.subject})

        await connection.subscribe(subjects.events("collection"), cb=changed)

    async def _renewed(self, tenant_id: UUID) -> Tunings:
        flights = self._flights
        tunings = await flights.join(tenant_id, lambda: self._ask(tenant_id))
        if flights is self._flights:
            self._known[tenant_id] = _Known(tunings, time.monotonic() + BELIEVED_SECONDS)
            self._known.move_to_end(tenant_id)
            while len(self._known) > MAX_TENANTS:
                self._known.popitem(last=False)
        return tunings

    async def _ask(self, tenant_id: UUID) -> Tunings:
        known = self._known.get(tenant_id)
        try:
            settings = await self._settings(tenant_id)
        except QuarryError as error:
            log.warning("collections are searched by settings of before: %s", error)
            return known.tunings if known is not None else Tunings(AllSettings({}, others=True))
        if known is not None and known.tunings.settings == settings:
            return known.tunings
        if not settings.settings:
            return Tunings(settings)
        return await asyncio.to_thread(Tunings, settings)

    async def _settings(self, tenant_id: UUID) -> AllSettings:
        found: dict[str, CollectionSettings] = {}
        after = ""
        for _ in range(MAX_PAGES):
            request = ListSettings(tenant_id, after)
            page = await self._rpc.call(SETTINGS, request, timeout_seconds=ANSWER_SECONDS)
            found |= page.settings
            if page.after is None:
                break
            after = page.after
        return AllSettings(found, others=page.others)
