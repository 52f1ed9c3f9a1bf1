"""Recorded searches as they are, page by page."""

import asyncpg

from quarry_analytics import asking
from quarry_analytics.repository import export
from quarry_common import cursors
from quarry_common.contracts.analytics import ExportOf, ExportPage, ExportRow
from quarry_common.contracts.search import SearchMode
from quarry_common.ids import time_of
from quarry_common.postgres.pool import Database

OF = "searches"


class ExportHandler:
    """Answers pages of what is recorded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, asked: ExportOf) -> ExportPage:
        """Return a page of searches, oldest first. Raises `ValidationError` for a wrong cursor."""
        selection = asked.selection
        after = cursors.decode_timed_id(OF, asked.cursor)
        start = selection.start if after is None else max(selection.start, time_of(after))
        async with asking.transaction(self._database, selection.tenant_id) as connection:
            found = await export.page(
                connection, asking.chosen(selection), start, selection.end, after, asked.limit
            )
        full = len(found) == asked.limit
        return ExportPage(
            [_row(row) for row in found],
            cursors.encode(OF, str(found[-1]["query_id"])) if full else None,
        )


def _row(row: asyncpg.Record) -> ExportRow:
    return ExportRow(
        tenant_id=row["tenant_id"],
        query_id=row["query_id"],
        occurred_at=row["occurred_at"],
        query=row["query"],
        mode=SearchMode(row["mode"]),
        collection=row["collection"] or None,
        filtered=row["filtered"],
        results=row["total"],
        top_score=row["top_score"],
        similarity=row["similarity"],
        duration_ms=row["duration_ms"],
        cache=row["cache"],
        key_id=row["key_id"],
        user_id=row["user_id"],
        client_id=row["client_id"],
        trace_id=row["trace_id"],
        collapsed=row["collapsed"] or row["continued"],
        clicks=row["clicks"],
        first_click_position=row["first_click_position"],
    )
