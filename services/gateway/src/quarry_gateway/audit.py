"""What the gateway has written down in the audit log: acts of other services, and what was denied."""

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID

from prometheus_client import Counter

from quarry_common.contracts.audit import RECORD_ACTS, AuditAct, AuditOutcome, Facts, RecordActs
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.errors import QuarryError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_common.waiting import pause
from quarry_gateway.domain import Caller

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
RECORD_SECONDS: Final = 5.0
MAX_TOGETHER: Final = 200
MAX_WAITING: Final = 10_000

LOST = Counter("audit_acts_lost_total", "Acts that could not be written down: too many were waiting.")


class AuditTrail:
    """Hands acts to the tenants service, which owns the log.

    An administrative act is written before it is answered; when the service does not answer, it waits with
    what was denied, and is tried again until it is written. What waits is lost with the process.
    """

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._waiting: deque[AuditAct] = deque()
        self._denied: set[tuple[UUID, str, str]] = set()

    async def record(
        self,
        caller: Caller,
        action: str,
        target: str,
        *,
        before: Facts | None = None,
        after: Facts | None = None,
    ) -> None:
        """Write down what `caller` did, now if the service answers and soon otherwise."""
        act = _act(caller, action, target, before=before, after=after)
        try:
            await self._rpc.call(RECORD_ACTS, RecordActs([act]), timeout_seconds=RECORD_SECONDS)
        except QuarryError as error:
            log.warning("an act waits to be written down: %s", error, extra={"action": action})
            self._keep(act)

    def denied(self, caller: Caller, action: str, target: str, *, log_of: UUID | None = None) -> None:
        """Have it written down soon that `caller` was denied something, in the log of its own tenant or of
        another. The same denial is written once for all that come before it is."""
        if caller.tenant is None:
            return
        kind = (caller.key_id, action, target)
        if kind not in self._denied:
            self._denied.add(kind)
            self._keep(_act(caller, action, target, outcome=AuditOutcome.DENIED, log_of=log_of))

    def noted(self, caller: Caller, action: str, target: str) -> None:
        """Have it written down soon what `caller` asked for."""
        if caller.tenant is not None:
            self._keep(_act(caller, action, target))

    def _keep(self, act: AuditAct) -> None:
        if len(self._waiting) >= MAX_WAITING:
            LOST.inc()
            return
        self._waiting.append(act)

    async def run(self, stopping: asyncio.Event) -> None:
        """Write down what waits until `stopping` is set, and then what is left."""
        while not stopping.is_set():
            await self.flush()
            await pause(stopping, EVERY_SECONDS)
        await self.flush()

    async def flush(self) -> None:
        """Write down what waits, as far as the service answers."""
        self._denied.clear()
        singly = 0
        while self._waiting:
            acts = list(islice(self._waiting, 1 if singly else MAX_TOGETHER))
            try:
                await self._rpc.call(RECORD_ACTS, RecordActs(acts), timeout_seconds=RECORD_SECONDS)
            except QuarryError as error:
                if error.data.status >= 500:
                    log.warning("%d acts wait to be written down: %s", len(self._waiting), error)
                    return
                if len(acts) > 1:  # one of them is refused, or all are too much for one message
                    singly = len(acts)
                    continue
                LOST.inc()
                log.error("an act was refused by the audit log: %s", error)  # noqa: TRY400 - nothing to trace
            for _ in acts:
                self._waiting.popleft()
            singly = max(0, singly - 1)


def _act(
    caller: Caller,
    action: str,
    target: str,
    *,
    outcome: AuditOutcome = AuditOutcome.DONE,
    before: Facts | None = None,
    after: Facts | None = None,
    log_of: UUID | None = None,
) -> AuditAct:
    return AuditAct(
        tenant_id=log_of or caller.tenant or PLATFORM_TENANT,
        actor=caller.actor,
        action=action,
        target=target,
        outcome=outcome,
        before=before,
        after=after,
        at=datetime.now(UTC),
        id=new_id(),
    )
