from uuid import UUID

import msgspec

from quarry_common.contracts.documents import Accepted
from quarry_common.postgres.pool import Connection

KEEP_HOURS = 24


class Remembered(msgspec.Struct, frozen=True):
    """What an earlier request under the same key was and what it was told."""

    fingerprint: bytes
    reply: Accepted


async def recall(connection: Connection, tenant_id: UUID, key: str) -> Remembered | None:
    """Return the earlier request under `key`; requests with one key are taken one after another."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant_id}:{key}")
    row = await connection.fetchrow(
        """
        SELECT fingerprint, reply FROM idempotency_keys
        WHERE tenant_id = $1 AND key = $2 AND created_at > now() - make_interval(hours => $3)
        """,
        tenant_id,
        key,
        KEEP_HOURS,
    )
    return Remembered(row["fingerprint"], msgspec.json.decode(row["reply"], type=Accepted)) if row else None


async def remember(
    connection: Connection, tenant_id: UUID, key: str, fingerprint: bytes, reply: Accepted
) -> None:
    """Keep the answer for the next request under `key`."""
    await connection.execute(
        """
        INSERT INTO idempotency_keys (tenant_id, key, fingerprint, reply) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, key) DO UPDATE
            SET fingerprint = EXCLUDED.fingerprint, reply = EXCLUDED.reply, created_at = now()
        """,
        tenant_id,
        key,
        fingerprint,
        msgspec.json.encode(reply).decode(),
    )


async def expire(connection: Connection) -> None:
    """Forget keys that are too old. Needs the worker role: it looks at every tenant."""
    await connection.execute(
        "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => $1)", KEEP_HOURS
    )
