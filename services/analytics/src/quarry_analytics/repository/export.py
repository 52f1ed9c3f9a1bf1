"""Recorded searches in the order of time, page by page."""

from datetime import datetime
from uuid import UUID

import asyncpg

from quarry_analytics.repository.reading import Chosen, condition
from quarry_common.postgres.pool import Connection


async def page(
    connection: Connection,
    chosen: Chosen,
    start: datetime,
    end: datetime,
    after: UUID | None,
    limit: int,
) -> list[asyncpg.Record]:
    """Return searches of a range in the order of their ids, after a certain one, with what was clicked.

    `start` is at least the time of `after`, whose day's partition is the first that is read.
    """
    found: list[asyncpg.Record] = await connection.fetch(
        f"""
        SELECT s.*, coalesce(c.clicks, 0) AS clicks, c.position AS first_click_position
        FROM (
            SELECT * FROM searches
            WHERE {condition(chosen)} AND occurred_at >= $4 AND occurred_at < $5
                AND ($6::uuid IS NULL OR (occurred_at, query_id) > ($4, $6))
            ORDER BY occurred_at, query_id LIMIT $7
        ) s LEFT JOIN LATERAL (
            SELECT count(*) AS clicks, (array_agg(array_position(s.results, i.document_id)
                ORDER BY i.occurred_at, i.event_id))[1] AS position
            FROM interactions i
            WHERE i.tenant_id = s.tenant_id AND i.query_id = s.query_id AND i.searched_at = s.occurred_at
                AND i.searched_at >= $4 AND i.searched_at < $5
                AND i.action = 'click' AND i.document_id = ANY(s.results)
        ) c ON true
        ORDER BY s.occurred_at, s.query_id
        """,  # noqa: S608
        chosen.tenant_id,
        chosen.collection,
        chosen.mode,
        start,
        end,
        after,
        limit,
    )
    return found
