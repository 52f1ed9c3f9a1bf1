"""Statements about the sessions of this service."""

from quarry_common.postgres.pool import Connection


async def end_silent(connection: Connection, seconds: float) -> int:
    """End the service's sessions whose client fell silent in the middle of a statement; return how many.

    Between the messages of one statement neither `idle_in_transaction_session_timeout` nor
    `statement_timeout` ends a session, so a process that stands still there would hold its rows for ever.
    """
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
