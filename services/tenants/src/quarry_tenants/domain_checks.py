"""Looks at the records of domains again, day by day: a name whose record is gone must not stay a tenant's."""

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from quarry_common.contracts.audit import Actor
from quarry_common.errors import QuarryError
from quarry_common.postgres.leadership import Leadership
from quarry_common.postgres.pool import Database
from quarry_common.waiting import pause
from quarry_tenants.domain.domains import record_name
from quarry_tenants.handlers.domains import settle
from quarry_tenants.repository import domains
from quarry_tenants.txt_records import TxtResolver

log = logging.getLogger(__name__)

AGAIN_AFTER: Final = timedelta(hours=24)
AT_ONCE: Final = 20
"""Names that are looked up at a time."""
ROUND_SECONDS: Final = 300.0
"""Between two looks for what is due, more or less by a half: installations should not ask in step."""
FULL_ROUND_SECONDS: Final = 1.0
"""When more may be due at once: the DNS servers are not to be flooded."""
LEAD_SECONDS: Final = 60.0


class DomainChecks:
    """Works in rounds, in one process at a time; two that do it at once do no harm."""

    def __init__(self, database: Database, resolver: TxtResolver) -> None:
        self._database = database
        self._resolver = resolver
        self._leadership = Leadership(database, "domain_checks", seconds=LEAD_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set."""
        while not stopping.is_set():
            looked = 0
            try:
                if await self._leadership.take():
                    looked = await self.check_due(datetime.now(UTC))
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("domains were not looked at: %s; trying again", error)
            seconds = FULL_ROUND_SECONDS if looked == AT_ONCE else ROUND_SECONDS
            await pause(stopping, seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret
        try:
            await self._leadership.give_back()
        except QuarryError as error:
            log.warning("domain checks: the lease is left to run out: %s", error)

    async def check_due(self, now: datetime) -> int:
        """Look at domains that were not looked at for a day, at most `AT_ONCE`; return how many those were.

        Raises `UnavailableError` when the database is away; what the DNS does not answer is due a day later.
        """
        async with self._database.worker_transaction() as worker:
            due = await domains.due(worker, now - AGAIN_AFTER, AT_ONCE)
        await asyncio.gather(*(self._check(tenant_id, name) for tenant_id, name in due))
        return len(due)

    async def _check(self, tenant_id: UUID, name: str) -> None:
        lookup = await self._resolver.look_up(record_name(name))
        async with self._database.tenant_transaction(tenant_id) as connection:
            await settle(connection, tenant_id, name, lookup, Actor())
