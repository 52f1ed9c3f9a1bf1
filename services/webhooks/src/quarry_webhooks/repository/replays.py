"""Statements of replays: asked for, and how far they are."""

from datetime import datetime
from uuid import UUID

import asyncpg

from quarry_common.contracts.webhooks import Replay, ReplayKind, ReplayState, StartReplay
from quarry_common.postgres.pool import Connection

_COLUMNS = """
    id, endpoint_id, kind, state, since, until, event_types, examined, matched, created_at, finished_at, error
"""


async def unfinished(connection: Connection, endpoint_id: UUID) -> int:
    """Return how many replays of an endpoint have not ended."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM replays WHERE endpoint_id = $1 AND state IN ('queued', 'running')", endpoint_id
    )
    return count


async def add(connection: Connection, replay_id: UUID, request: StartReplay, until: datetime) -> Replay:
    """Store a replay of what happened from `request.since` to `until`."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO replays (id, tenant_id, endpoint_id, kind, state, since, until, event_types)
        VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7) RETURNING {_COLUMNS}
        """,  # noqa: S608 - a constant
        replay_id,
        request.ref.tenant_id,
        request.ref.endpoint_id,
        request.kind.value,
        request.since,
        until,
        request.event_types,
    )
    return _replay(row)


async def find(connection: Connection, endpoint_id: UUID, replay_id: UUID) -> Replay | None:
    """Return a replay of an endpoint."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM replays WHERE endpoint_id = $1 AND id = $2",  # noqa: S608 - a constant
        endpoint_id,
        replay_id,
    )
    return _replay(row) if row else None


def _replay(row: asyncpg.Record) -> Replay:
    return Replay(**{**row, "kind": ReplayKind(row["kind"]), "state": ReplayState(row["state"])})
