"""The audit log."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec

from quarry_common.contracts.audit import Actor, AuditAct, AuditEntry, AuditOutcome, Facts
from quarry_common.postgres.pool import Connection
from quarry_tenants.domain.audit import Entry, Head, entry_of

_COLUMNS = "number, at, actor, action, target, outcome, before, after, previous_hash, hash"
_VERIFIED_AT_A_TIME = 1_000


async def append(connection: Connection, tenant_id: UUID, acts: Sequence[AuditAct]) -> None:
    """Write acts of one tenant down, in their order.

    Nobody else writes there until the transaction ends: let it be the last that the transaction does.
    """
    if not acts:
        return
    await connection.execute(
        "INSERT INTO audit_heads (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", tenant_id
    )
    head = await _head(connection, tenant_id, lock=True)
    now = datetime.now(UTC)
    entries: list[Entry] = []
    for act in acts:
        entries.append(entry_of(act, head, now))
        head = Head(entries[-1].number, entries[-1].hash)
    await connection.executemany(
        f"""
        INSERT INTO audit_entries (tenant_id, {_COLUMNS})
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,  # noqa: S608 - a constant
        [(tenant_id, *msgspec.structs.astuple(entry)) for entry in entries],
    )
    await connection.execute(
        "UPDATE audit_heads SET number = $2, hash = $3 WHERE tenant_id = $1",
        tenant_id,
        head.number,
        head.hash,
    )


async def head(connection: Connection, tenant_id: UUID, *, lock: bool = False) -> Head:
    """Return where the tenant's log ended when it was last written; with `lock`, nobody writes on for now."""
    return await _head(connection, tenant_id, lock=lock)


async def last_at(connection: Connection, tenant_id: UUID, action: str) -> datetime | None:
    """Return when an action was written down last."""
    at: datetime | None = await connection.fetchval(
        """
        SELECT at FROM audit_entries WHERE tenant_id = $1 AND action = $2 ORDER BY number DESC LIMIT 1
        """,
        tenant_id,
        action,
    )
    return at


async def page(
    connection: Connection,
    tenant_id: UUID,
    before: int,
    limit: int,
    *,
    action: str | None = None,
    outcome: AuditOutcome | None = None,
) -> list[AuditEntry]:
    """Return entries with smaller numbers than `before`, latest first."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM audit_entries
        WHERE tenant_id = $1 AND number < $2
            AND ($3::text IS NULL OR action = $3 OR starts_with(action, $3 || '.'))
            AND ($4::text IS NULL OR outcome = $4)
        ORDER BY number DESC LIMIT $5
        """,  # noqa: S608 - a constant
        tenant_id,
        before,
        action,
        None if outcome is None else outcome.value,
        limit,
    )
    return [_told(_entry(row)) for row in rows]


async def every(connection: Connection, tenant_id: UUID, after: int) -> AsyncIterator[Entry]:
    """Yield all entries that come after a number, in their order."""
    number = after
    while True:
        rows = await connection.fetch(
            f"""
            SELECT {_COLUMNS} FROM audit_entries WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT $3
            """,  # noqa: S608 - a constant
            tenant_id,
            number,
            _VERIFIED_AT_A_TIME,
        )
        for row in rows:
            yield _entry(row)
        if len(rows) < _VERIFIED_AT_A_TIME:
            return
        number = rows[-1]["number"]


async def _head(connection: Connection, tenant_id: UUID, *, lock: bool) -> Head:
    row = await connection.fetchrow(
        f"SELECT number, hash FROM audit_heads WHERE tenant_id = $1 {'FOR UPDATE' if lock else ''}",  # noqa: S608 - constants
        tenant_id,
    )
    return Head(row["number"], row["hash"]) if row else Head(0, b"")


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(**row)


def _told(entry: Entry) -> AuditEntry:
    return AuditEntry(
        number=entry.number,
        at=entry.at,
        actor=msgspec.json.decode(entry.actor, type=Actor),
        action=entry.action,
        target=entry.target,
        outcome=AuditOutcome(entry.outcome),
        before=_facts(entry.before),
        after=_facts(entry.after),
        previous_hash=entry.previous_hash.hex(),
        hash=entry.hash.hex(),
    )


def _facts(text: str | None) -> Facts | None:
    return None if text is None else msgspec.json.decode(text, type=Facts)
