"""Delivers to one endpoint for as long as this process holds it.

What is due is read in pieces, sent with as many requests at once as the endpoint bears, and what came of it
is written in batches. A process that is killed in between leaves deliveries as they were: they are sent again
under the same `webhook-id`.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg

from quarry_common.contracts.webhooks import DeliveryState
from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.postgres.pool import Database
from quarry_webhooks.delivering import requesting
from quarry_webhooks.delivering.places import Places
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.recording import record
from quarry_webhooks.delivering.requesting import Receiver
from quarry_webhooks.domain.circuit import Health, Pace
from quarry_webhooks.domain.results import Attempt, disables, judge
from quarry_webhooks.domain.schedule import retry_after
from quarry_webhooks.repository import due as repository
from quarry_webhooks.repository.due import Due
from quarry_webhooks.repository.queues import Claim
from quarry_webhooks.repository.results import Result

log = logging.getLogger(__name__)

READ = 100
RECORD_AT = 50
RECORD_SECONDS = 0.05
"""How long a result waits for others before it is written."""
FRESH_SECONDS = 2.0
"""What was read so long ago is read again: the endpoint may have been changed or disabled."""
SLICE_SECONDS = 2.0
SLICE_ATTEMPTS = 200
"""After either an endpoint is given back when others wait."""
RETRY_SECONDS = 0.5
IDLE_SECONDS = 1.0


class Run:
    """One process's time with one endpoint."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        tools: Tools,
        rules: Rules,
        places: Places,
        others_wait: Callable[[], bool],
        sure_until: float,
    ) -> None:
        self.claim = claim
        self.sure_until = sure_until
        """Time of the loop until which the lease need not be asked for: a process may have stood still."""
        self._database = database
        self._tools = tools
        self._rules = rules
        self._places = places
        self._others_wait = others_wait
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._look = True
        """Whether there may be something due that was not read."""
        self._lost = False
        self._receiver: Receiver | None = None
        self._health = Health()
        self._pace: Pace | None = None
        self._queue: deque[Due] = deque()
        self._sending: dict[asyncio.Task[Attempt | None], Due] = {}
        self._results: list[Result] = []
        self._record_by = 0.0
        self._due_at: datetime | None = None
        self._next_send = 0.0
        self._slice_until = self._loop.time() + SLICE_SECONDS
        self._attempts = 0
        self._stale_at = math.inf

    def wake(self) -> None:
        """Say that there may be something new."""
        self._look = True
        self._woken.set()

    def lose(self) -> None:
        """Say that another process has the endpoint: nothing is sent or written any more."""
        self._lost = True
        self._woken.set()

    async def work(self, stopping: asyncio.Event) -> datetime | None:
        """Deliver what is due, then give the endpoint back; return when it is due next, if ever."""
        try:
            while not self._is_lost():
                if stopping.is_set() or self._slice_is_over():
                    self._queue.clear()
                elif self._loop.time() >= self._stale_at:
                    self._queue.clear()
                    self._look = True
                if self._look and not self._queue and self._room() > 0 and not self._ends(stopping):
                    await self._read_or_wait()
                self._send()
                if not self._sending and not self._queue and not self._waits_for_rate(stopping):
                    if self._look and not self._ends(stopping):
                        continue
                    break
                await self._step(stopping)
            return await self._give_back()
        finally:
            for task in self._sending:
                task.cancel()

    def _is_lost(self) -> bool:
        return self._lost or self._loop.time() > self.sure_until

    def _ends(self, stopping: asyncio.Event) -> bool:
        return stopping.is_set() or self._slice_is_over()

    def _slice_is_over(self) -> bool:
        over = self._attempts >= SLICE_ATTEMPTS or self._loop.time() >= self._slice_until
        return over and self._others_wait()

    def _waits_for_rate(self, stopping: asyncio.Event) -> bool:
        # The rate is kept in memory only: the endpoint is not given back before the next request may be sent.
        return self._loop.time() < self._next_send and not stopping.is_set()

    def _room(self) -> int:
        """How many more requests the endpoint may have now."""
        if self._receiver is None or self._pace is None:
            return 1
        alone = self._receiver.endpoint.ordered or self._health.is_probed
        return (1 if alone else self._pace.now) - len(self._sending)

    async def _read_or_wait(self) -> None:
        try:
            await self._read()
        except (UnavailableError, OSError) as error:
            log.warning("what is due could not be read: %s; trying again", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        """Read how the endpoint is and what is due; what was sent is written before it."""
        if self._results and not await self._record():
            return
        now = self._tools.clock()
        in_hand = [due.id for due in self._sending.values()]
        async with self._database.tenant_transaction(self.claim.tenant_id) as connection:
            found = await repository.endpoint(connection, self.claim)
            if found is None:
                self._lost = True
                return
            endpoint, self._health = found
            read = await repository.forced(connection, endpoint.id, now, READ, in_hand)
            if not read and endpoint.enabled and not self._health.is_open(now):
                if not endpoint.ordered:
                    read = await repository.next_ones(connection, endpoint.id, now, READ, in_hand)
                elif not in_hand:
                    read = await repository.next_in_order(connection, endpoint.id, now, READ)
            empty = [due.id for due in read if due.payload is None]
            if empty:
                await repository.expire_empty(connection, empty)
        if self._receiver is None or self._receiver.endpoint != endpoint:
            self._receiver = requesting.receiver(endpoint, self._tools)
        if self._pace is None:
            self._pace = Pace.of(self._health, self._rules.per_endpoint)
        self._queue.extend(due for due in read if due.payload is not None)
        self._look = bool(read)
        self._stale_at = self._loop.time() + FRESH_SECONDS if self._queue else math.inf

    def _send(self) -> None:
        """Begin as many requests as there is room for."""
        if self._receiver is None:
            return
        rate = self._receiver.endpoint.requests_per_second
        while self._queue and self._room() > 0 and not self._lost:
            now = self._loop.time()
            if rate is not None:
                if now < self._next_send:
                    return
                self._next_send = max(now, self._next_send) + 1 / rate
            due = self._queue.popleft()
            self._attempts += 1
            self._sending[asyncio.create_task(self._attempt(due, self._receiver))] = due

    async def _attempt(self, due: Due, receiver: Receiver) -> Attempt | None:
        async with self._places.one(self.claim.tenant_id):
            if self._is_lost():
                return None
            return await requesting.attempt(due, receiver, self._tools)

    async def _step(self, stopping: asyncio.Event) -> None:
        """Wait until there is something to do; take what has ended, and write it when it is time."""
        self._woken.clear()
        waits = [asyncio.create_task(self._woken.wait())]
        if not stopping.is_set():
            waits.append(asyncio.create_task(stopping.wait()))
        try:
            await asyncio.wait(
                [*self._sending, *waits], timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        for task in [task for task in self._sending if task.done()]:
            del self._sending[task]
            if (attempt := task.result()) is not None:
                self._take(attempt)
        if self._results and (len(self._results) >= RECORD_AT or self._loop.time() >= self._record_by):
            await self._record()

    def _patience(self) -> float:
        until = self._loop.time() + IDLE_SECONDS
        if self._results:
            until = min(until, self._record_by)
        if (self._queue and self._room() > 0) or not self._sending:
            until = min(until, self._next_send) if self._next_send > 0 else until
        return max(0.0, until - self._loop.time())

    def _take(self, attempt: Attempt) -> None:
        """Decide what follows from an attempt, for its delivery and for the endpoint."""
        assert self._receiver is not None and self._pace is not None  # noqa: PT018, S101 - read before it was sent
        endpoint = self._receiver.endpoint
        now = attempt.ended_at
        patience = retry_after(attempt.status, attempt.response_headers, now)
        verdict = judge(
            attempt, self._rules.delays_seconds, disabled=endpoint.disabled_reason, patience=patience
        )
        if not self._results:
            self._record_by = self._loop.time() + RECORD_SECONDS
        self._results.append(Result(attempt, verdict))
        if disables(attempt.status, attempt.response_headers) is not None:
            self._queue.clear()  # it wants no more, which is written before anything is read again
        if attempt.delivered:
            self._health = self._health.succeeded(now)
            self._pace.succeeded()
            return
        self._health = self._health.failed(now, patience)
        self._pace.failed(attempt.status)
        if endpoint.ordered and verdict.state is DeliveryState.PENDING:
            self._queue.clear()  # the head blocks those after it
        elif self._health.is_open(now) or self._health.is_probed:
            self._queue = deque(waiting for waiting in self._queue if waiting.forced)
            self._look = True

    async def _record(self, *, give_back: bool = False) -> bool:
        """Write the results at hand, again and again while the lease is sure; return whether it was done."""
        assert self._receiver is not None  # noqa: S101 - read before anything was sent
        while not self._is_lost():
            now = self._tools.clock()
            try:
                recorded = await record(
                    self._database, self.claim, self._receiver.endpoint, self._results, self._health, now,
                    self._rules.disable_after, give_back=give_back,
                )  # fmt: skip
            except (QuarryError, asyncpg.InterfaceError, OSError) as error:
                log.warning("results of an endpoint could not be written: %s; trying again", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if recorded is None:
                self._lost = True
                return False
            self._results.clear()
            self._due_at = recorded.due_at
            if recorded.disabled:
                self._queue.clear()
                self._look = True
            return True
        self._lost = True
        return False

    async def _give_back(self) -> datetime | None:
        if self._receiver is None or self._is_lost():
            return None
        return self._due_at if await self._record(give_back=True) else None


async def set_aside(database: Database, claim: Claim, tools: Tools, pause: timedelta) -> None:
    """Leave an endpoint alone for a while whose run ended by an error that nobody foresaw."""
    now = tools.clock()
    async with database.tenant_transaction(claim.tenant_id) as connection:
        found = await repository.endpoint(connection, claim)
    if found is None:
        return
    endpoint, health = found
    until = max(now + pause, health.until or now)
    aside = Health(
        failures=health.failures, until=until, failing_since=health.failing_since,
        warned_at=health.warned_at, last_delivered_at=health.last_delivered_at,
    )  # fmt: skip
    await record(database, claim, endpoint, [], aside, now, timedelta.max, give_back=True)
