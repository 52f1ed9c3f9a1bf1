"""Takes endpoints that are due and lets deliveries to them run under their leases.

Any number of processes may do it. Tenants take turns, and one has at most half of a process's endpoints and
requests, so that there is room for the next.
"""

import asyncio
import logging
from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import UUID

import asyncpg

from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry.logging import bound
from quarry_common.waiting import pause, woken
from quarry_webhooks.delivering.metrics import ENDPOINTS_HELD, LOST
from quarry_webhooks.delivering.places import Places
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.run import Run, set_aside
from quarry_webhooks.repository import queues

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
BETWEEN_CLAIMS_SECONDS = 0.02
"""Events come in crowds: each need not be looked for by itself."""
SOONEST_SECONDS = 0.05
AT_ONCE = 50
LONGEST_BEAT_SECONDS = 5.0
RETRY_SECONDS = 1.0
ASIDE = timedelta(minutes=1)


class Scheduler:
    """Delivers, with bounded requests at a time."""

    def __init__(self, database: Database, tools: Tools, rules: Rules) -> None:
        self._database = database
        self._tools = tools
        self._rules = rules
        self._places = Places(rules.concurrency, rules.per_tenant)
        self._woken = asyncio.Event()
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._claimed_at = 0.0
        self._claimed_for = tools.clock()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until `stopping` is set; requests under way are finished and written."""
        beat = asyncio.create_task(self._beat())
        try:
            while not stopping.is_set():
                try:
                    await self._listen(stopping)
                except (QuarryError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                    log.warning("deliveries: %s; trying again", error)
                    await pause(stopping, RETRY_SECONDS)
            if self._runs:
                await asyncio.wait(self._runs)
        finally:
            beat.cancel()
            for task in self._runs:
                task.cancel()

    async def _listen(self, stopping: asyncio.Event) -> None:
        async with self._database.session() as session:
            await session.add_listener(queues.CHANNEL, self._hear)
            try:
                await self._serve(session, stopping)
            finally:
                if not session.is_closed():
                    await session.remove_listener(queues.CHANNEL, self._hear)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for run in self._runs.values():
            if str(run.claim.tenant_id) == payload:
                run.wake()
        self._woken.set()

    async def _serve(self, session: Connection, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stopping.is_set():
            self._woken.clear()
            if session.is_closed():
                raise UnavailableError("the connection that tells of new deliveries is gone")
            free = min(self._rules.concurrency - len(self._runs), AT_ONCE)
            if free > 0 and await self._claim(free, stopping) == free:
                continue
            await woken(self._woken, stopping, await self._until_due())
            await pause(stopping, max(0.0, self._claimed_at + BETWEEN_CLAIMS_SECONDS - loop.time()))

    async def _claim(self, most: int, stopping: asyncio.Event) -> int:
        began = self._claimed_at = asyncio.get_running_loop().time()
        now = self._claimed_for = self._tools.clock()
        held = Counter(run.claim.tenant_id for run in self._runs.values())
        async with self._database.worker_transaction() as worker:
            claims = await queues.claim(
                worker,
                now,
                self._rules.lease_seconds,
                most,
                held=held,
                per_tenant=self._rules.per_tenant,
            )
        for claim in claims:
            run = Run(
                self._database,
                claim,
                self._tools,
                self._rules,
                self._places,
                partial(self._others_wait, claim.tenant_id),
                began + self._rules.lease_seconds,
            )
            task = asyncio.create_task(self._work(run, stopping))
            self._runs[task] = run
            task.add_done_callback(self._done)
        ENDPOINTS_HELD.set(len(self._runs))
        return len(claims)

    def _is_full(self) -> bool:
        return len(self._runs) >= self._rules.concurrency

    def _others_wait(self, tenant_id: UUID) -> bool:
        """Whether an endpoint may wait for one of this tenant to be given back."""
        of_tenant = sum(run.claim.tenant_id == tenant_id for run in self._runs.values())
        return self._is_full() or of_tenant >= self._rules.per_tenant

    async def _until_due(self) -> float:
        """Return how long to wait for the next endpoint, unless something wakes."""
        if self._is_full():
            return POLL_SECONDS
        async with self._database.worker_transaction() as worker:
            due_at = await queues.next_due(worker)
        if due_at is None or due_at <= self._claimed_for:
            # What was due then and was not claimed is of a tenant that has its share: a run that ends wakes.
            return POLL_SECONDS
        seconds = (due_at - self._tools.clock()).total_seconds()
        return min(max(seconds, SOONEST_SECONDS), POLL_SECONDS)

    async def _work(self, run: Run, stopping: asyncio.Event) -> None:
        with bound(tenant=str(run.claim.tenant_id), endpoint=str(run.claim.endpoint_id)):
            try:
                due_at = await run.work(stopping)
                if due_at is not None and (due_at - self._tools.clock()).total_seconds() < POLL_SECONDS:
                    self._woken.set()  # how long to wait was decided without it
            except (QuarryError, OSError) as error:
                log.warning("an endpoint is left to its lease: %s", error)
            except Exception:
                log.exception("deliveries to an endpoint ended by an error; it is left alone for a while")
                await self._set_aside(run)

    async def _set_aside(self, run: Run) -> None:
        try:
            await set_aside(self._database, run.claim, self._tools, ASIDE)
        except (QuarryError, asyncpg.PostgresError, OSError) as error:
            log.warning("an endpoint is left to its lease: %s", error)

    def _done(self, task: asyncio.Task[None]) -> None:
        waited_for = self._others_wait(self._runs[task].claim.tenant_id)
        del self._runs[task]
        ENDPOINTS_HELD.set(len(self._runs))
        if waited_for:
            self._woken.set()

    async def _beat(self) -> None:
        """Renew the leases of all endpoints at hand; those that were taken away are let go."""
        loop = asyncio.get_running_loop()
        every = min(self._rules.lease_seconds / 5, LONGEST_BEAT_SECONDS)
        while True:
            await asyncio.sleep(every)
            runs = list(self._runs.values())
            if not runs:
                continue
            began = loop.time()
            try:
                async with (
                    asyncio.timeout(self._rules.lease_seconds / 2),
                    self._database.worker_transaction() as worker,
                ):
                    kept = await queues.renew(worker, [run.claim for run in runs], self._rules.lease_seconds)
            except (QuarryError, asyncpg.PostgresError, OSError, TimeoutError) as error:
                log.warning("leases of endpoints could not be renewed: %s", error)
                continue
            for run in runs:
                if run.claim.endpoint_id in kept:
                    run.sure_until = began + self._rules.lease_seconds
                elif run in self._runs.values():
                    LOST.inc()
                    run.lose()
