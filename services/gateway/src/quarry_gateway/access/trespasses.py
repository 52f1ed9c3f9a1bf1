"""Attempts on other tenants' things: an id that is somebody else's is answered as one that there is not, and
written down.

Nobody waits for it: the answer is given by then, and says nothing of it. It stands in the log of the
installation: in the caller's own it would tell that there is such a thing.
"""

import asyncio
import logging
from collections import deque
from typing import Final
from uuid import UUID

import msgspec
from prometheus_client import Counter

from quarry_common.contracts.audit import OWNERS_OF, OWNERS_OF_KEYS, OWNERS_OF_WEBHOOKS, OwnersOf
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.errors import QuarryError
from quarry_common.messaging.rpc import RpcClient
from quarry_common.waiting import pause
from quarry_gateway.audit import AuditTrail
from quarry_gateway.domain import Caller

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
ASK_SECONDS: Final = 2.0
MAX_WAITING: Final = 1_000
TOGETHER: Final = 20
NAMES: Final = {
    "document_id": ("document", OWNERS_OF),
    "job_id": ("job", OWNERS_OF),
    "key_id": ("api_key", OWNERS_OF_KEYS),
    "webhook_id": ("webhook", OWNERS_OF_WEBHOOKS),
    "delivery_id": ("webhook_delivery", OWNERS_OF_WEBHOOKS),
    "replay_id": ("webhook_replay", OWNERS_OF_WEBHOOKS),
}
"""Parameters of paths that are ids: what the log calls such a thing, and who knows whose it is."""

LOST = Counter("foreign_ids_unchecked_total", "Unknown ids that were not looked up.")


class _Unknown(msgspec.Struct, frozen=True):
    caller: Caller
    parameter: str
    id: UUID


class Trespasses:
    """Looks up whose the ids are that callers did not find, and has attempts on another's written down."""

    def __init__(self, rpc: RpcClient, audit: AuditTrail) -> None:
        self._rpc = rpc
        self._audit = audit
        self._waiting: deque[_Unknown] = deque()

    def not_found(self, caller: Caller, parameter: str, value: str) -> None:
        """Take note that `caller` asked for an id that it does not have."""
        if caller.tenant is None or parameter not in NAMES:
            return
        if len(self._waiting) >= MAX_WAITING:
            LOST.inc()
            return
        try:
            self._waiting.append(_Unknown(caller, parameter, UUID(value)))
        except ValueError:
            return

    async def run(self, stopping: asyncio.Event) -> None:
        """Look ids up until `stopping` is set, and then those that are left."""
        while not stopping.is_set():
            await self.look()
            await pause(stopping, EVERY_SECONDS)
        await self.look()

    async def look(self) -> None:
        """Look up what waits."""
        while self._waiting:
            together = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
            for method in {NAMES[each.parameter][1] for each in together}:
                asked = [each for each in together if NAMES[each.parameter][1] is method]
                ids = list({each.id for each in asked})
                try:
                    owners = await self._rpc.call(method, OwnersOf(ids), timeout_seconds=ASK_SECONDS)
                except QuarryError as error:
                    log.warning("whose %d unknown ids are was not found out: %s", len(asked), error)
                    LOST.inc(len(asked))
                    continue
                for each in asked:
                    owner = owners.tenants.get(str(each.id))
                    if owner is not None and owner != each.caller.tenant:
                        action = f"{NAMES[each.parameter][0]}.reached_for"
                        self._audit.denied(each.caller, action, str(each.id), log_of=PLATFORM_TENANT)
