"""Sessions whose client fell silent in the middle of a statement.

Between the messages of one statement, after Parse and before Execute, neither `statement_timeout` nor
`idle_in_transaction_session_timeout` ends a session: a process that stands still there would hold its rows
for ever.
"""

import asyncio
import logging

import asyncpg

from quarry_common.errors import QuarryError
from quarry_common.postgres.pool import IDLE_IN_TRANSACTION_SECONDS, Connection, Database
from quarry_common.waiting import pause

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0


class SilentSessions:
    """Ends such sessions of its own service. Every process does it: one that stands still does not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every ten seconds until `stopping` is set."""
        while not stopping.is_set():
            try:
                async with self._database.session() as connection:
                    if ended := await end_silent(connection, IDLE_IN_TRANSACTION_SECONDS):
                        log.warning("%d sessions whose client fell silent were ended", ended)
            except (QuarryError, asyncpg.PostgresError) as error:
                log.warning("silent sessions could not be looked for: %s", error)
            await pause(stopping, EVERY_SECONDS)


async def end_silent(connection: Connection, seconds: float) -> int:
    """End the sessions of this role that fell silent within a statement `seconds` ago; return how many."""
    ended = await connection.fetch(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()
          AND xact_start IS NOT NULL AND state = 'active' AND wait_event = 'ClientRead'
          AND state_change < now() - make_interval(secs => $1)
        """,
        seconds,
    )
    return len(ended)
