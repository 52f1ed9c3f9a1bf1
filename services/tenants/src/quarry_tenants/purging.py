"""Purges tenants whose grace is over, store by store, until nothing is left; then closes the receipt.

Every step is noted, and harmless to repeat: a process may be killed at any moment, and two may work at once
for a while. One leads at a time.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from quarry_common.contracts.audit import Actor, AuditAct, Facts
from quarry_common.contracts.events import TenantPurged
from quarry_common.contracts.purging import Purged
from quarry_common.contracts.tenancy import PLATFORM_TENANT, Tenant, TenantState
from quarry_common.errors import QuarryError
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Connection, Database
from quarry_common.waiting import pause
from quarry_tenants.domain import purges as rules
from quarry_tenants.domain import tenants as life
from quarry_tenants.domain.purges import Purge
from quarry_tenants.handlers import SERVICE
from quarry_tenants.repository import audit, purges, tenants
from quarry_tenants.stores import Store

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 5.0
"""Between two passes, for what was on its way when the first one began."""
LEASE_SECONDS: Final = 60.0
"""Longer than any step. After it a process that was killed is replaced."""
AT_ONCE: Final = 4
"""Tenants; the others take turns."""
DELETED: Final = "tenant.deleted"
"""As the audit log tells that a purge was asked for."""


class Purging:
    """Looks for tenants to purge every few seconds, and when the grace of one is over."""

    def __init__(
        self,
        database: Database,
        stores: Sequence[Store],
        *,
        look_seconds: float = LOOK_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._database = database
        self._stores = stores
        self._look_seconds = look_seconds
        self._pause = timedelta(seconds=pause_seconds)
        self._leadership = Leadership(database, "purging", seconds=LEASE_SECONDS)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self, stopping: asyncio.Event) -> None:
        """Purge until `stopping` is set; the step in hand is finished."""
        try:
            while not stopping.is_set():
                wait = self._look_seconds
                try:
                    if await self._leadership.take():
                        wait = await self._look(stopping)
                except (QuarryError, asyncpg.PostgresError, OSError) as error:
                    log.warning("tenants to purge could not be looked for: %s", error)
                await pause(stopping, wait)
        finally:
            with suppress(QuarryError, asyncpg.PostgresError, OSError):
                await self._leadership.give_back()

    async def _look(self, stopping: asyncio.Event) -> float:
        """Go on with every purge that is due; return the seconds until the next look."""
        # The worker role, because whose time has come is a question about all tenants.
        async with self._database.worker_transaction() as worker:
            coming = await tenants.due_for_purge(worker)
        now = datetime.now(UTC)
        due = [tenant_id for tenant_id, at in coming if at <= now]
        if due:
            went_well = await asyncio.gather(*(self._turn(tenant_id, stopping) for tenant_id in due))
            return 0.0 if all(went_well) else self._look_seconds
        next_at = [(at - now).total_seconds() for _, at in coming]
        return min([self._look_seconds, *next_at])

    async def _turn(self, tenant_id: UUID, stopping: asyncio.Event) -> bool:
        async with self._slots:
            try:
                await self._go_on(tenant_id, stopping)
            except Exception:
                # One tenant's purge does not hold up the others'.
                log.exception("the purge of a tenant failed", extra={"tenant_id": str(tenant_id)})
                return False
            return True

    async def _go_on(self, tenant_id: UUID, stopping: asyncio.Event) -> None:
        """Empty the stores once, in their order. One that has more than a piece is gone on with at the next
        turn, before those after it; one that does not answer holds up none."""
        if not await self._begun(tenant_id):
            return
        complete, further = True, False
        for store in self._stores:
            if stopping.is_set() or not await self._leadership.take():
                return
            done = await self._piece(store, tenant_id)
            further = further or not rules.is_empty(done.removed)
            if rules.is_empty(done.left):
                continue
            complete = False
            if not rules.is_silent(done):
                break
        if complete:
            await self._passed(tenant_id)
        else:
            await self._later(tenant_id, further=further)

    async def _begun(self, tenant_id: UUID) -> bool:
        """Begin the purge if its time has come; return whether it goes on. There is no way back from here."""
        async with self._database.tenant_transaction(tenant_id) as connection:
            tenant = await tenants.lock(connection, tenant_id, alone=True)
            if tenant is None or tenant.state is TenantState.PURGING:
                return tenant is not None
            now = datetime.now(UTC)
            purging = life.purging(tenant, now)
            if purging is None:
                return False
            requested_at = await audit.last_at(connection, tenant_id, DELETED) or now
            # The tenant's own log ends with this entry: nobody writes to it any more.
            await audit.append(connection, tenant_id, [_begins(tenant_id, purging)])
            head = await audit.head(connection, tenant_id)
            await purges.begin(connection, purging, requested_at, now, head)
            await tenants.change(connection, purging)
            await self._database.become(connection, PLATFORM_TENANT)
            await audit.append(connection, PLATFORM_TENANT, [_begins(PLATFORM_TENANT, purging)])
        log.info("a tenant's purge has begun", extra={"tenant_id": str(tenant_id), "slug": tenant.slug})
        return True

    async def _piece(self, store: Store, tenant_id: UUID) -> Purged:
        """Remove a piece of what a store has, and note what is left."""
        try:
            done = await store.remove(tenant_id)
        except QuarryError as error:
            log.warning(
                "purge: %s has not answered for %s: %s",
                store.service,
                store.name,
                error,
                extra={"tenant_id": str(tenant_id), "code": error.data.code},
            )
            done = rules.silence(store.service)
        async with self._database.worker_transaction() as worker:
            await purges.note_left(worker, tenant_id, store.name, done.left)
        return done

    async def _later(self, tenant_id: UUID, *, further: bool) -> None:
        """Go on at once after a piece, and after a pause when it came no further."""
        async with self._database.tenant_transaction(tenant_id) as connection:
            purge = await purges.lock(connection, tenant_id)
            if purge is None:
                return
            failures = 0 if further else purge.failures + 1
            wait = timedelta(0) if further else rules.pause_after(failures)
            await purges.go_on(
                connection,
                tenant_id,
                datetime.now(UTC) + wait,
                failures=failures,
                clean_passes=purge.clean_passes,
            )

    async def _passed(self, tenant_id: UUID) -> None:
        """Note a pass that left nothing. After the last one the receipt is closed."""
        now = datetime.now(UTC)
        async with self._database.tenant_transaction(tenant_id) as connection:
            tenant = await tenants.lock(connection, tenant_id)
            purge = await purges.lock(connection, tenant_id)
            # Another process may have made the same pass: between two there is a pause.
            if tenant is None or purge is None or purge.finished_at is not None or purge.go_on_at > now:
                return
            passes = purge.clean_passes + 1
            await purges.go_on(connection, tenant_id, now + self._pause, failures=0, clean_passes=passes)
            if passes >= rules.CLEAN_PASSES:
                await self._finish(connection, tenant, purge, now)

    async def _finish(self, connection: Connection, tenant: Tenant, purge: Purge, now: datetime) -> None:
        await purges.finish(connection, tenant.id, now)
        await tenants.change(connection, life.purged(tenant))
        # Its own stream and its own log are gone: the installation's tell of it.
        await self._database.become(connection, PLATFORM_TENANT)
        event = TenantPurged(tenant_id=tenant.id, slug=tenant.slug)
        await publish_event(connection, event, service=SERVICE, tenant_id=PLATFORM_TENANT)
        facts: Facts = {
            "removed": purge.removed,
            "audit_entries": purge.audit_entries,
            "audit_head_hash": purge.audit_head_hash.hex(),
        }
        act = AuditAct(PLATFORM_TENANT, Actor(), event.type, tenant.slug, after=facts)
        await audit.append(connection, PLATFORM_TENANT, [act])
        log.info("a tenant was purged", extra={"tenant_id": str(tenant.id), "slug": tenant.slug})


def _begins(log_of: UUID, tenant: Tenant) -> AuditAct:
    return AuditAct(log_of, Actor(), "tenant.purging", tenant.slug, after={"tenant_id": str(tenant.id)})
