"""Idempotency keys: the first answer under a key is kept with the work it tells of, and given again for a
day.

The row is written in the transaction of the work, so that neither is without the other. Requests under one
key take turns; who waits holds no connection meanwhile.
"""

import asyncio
import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from quarry_common.errors import FieldError, IdempotencyKeyInFlightError, IdempotencyKeyReusedError
from quarry_common.postgres.pool import Connection, Database

MIGRATIONS: Traversable = files("quarry_common.postgres") / "migrations"
"""The table of idempotency keys, for the schema of each service that answers under them."""

KEEP_HOURS = 24
WAIT_SECONDS = 8.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.25
NONCE_BYTES = 12

ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)
Work = Callable[[Connection], Awaitable[ReplyT]]


def fingerprint(method: str, *content: object) -> bytes:
    """Return a digest of what a request asks for; requests that are equal under a key have equal ones.

    `content` is whatever tells two requests apart: structs, numbers, texts, bytes.
    """
    return hashlib.sha256(msgspec.json.encode((method, content), order="deterministic")).digest()


async def once(
    database: Database,
    tenant_id: UUID,
    key: str | None,
    request: bytes,
    reply_type: type[ReplyT],
    work: Work[ReplyT],
) -> tuple[ReplyT, bool]:
    """Return the reply of `work`, done in a transaction of `tenant_id`, and whether it was done just now.

    Without a key it always is. With one, the first reply is kept sealed and returned for 24 hours; `request`
    is the request's fingerprint. `work` may change the tenant of its transaction with `Database.become`, if
    it changes it back. An error of `work` keeps nothing: the key is free again.

    Raises `IdempotencyKeyReusedError` when the key came with another request, `IdempotencyKeyInFlightError`
    when the first request did not end within eight seconds, and whatever `work` raises.
    """
    if key is None:
        async with database.tenant_transaction(tenant_id) as connection:
            return await work(connection), True
    seal = _Seal(tenant_id, key)
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + WAIT_SECONDS, FIRST_PAUSE_SECONDS
    while True:
        async with database.tenant_transaction(tenant_id) as connection:
            if await _take_turn(connection, seal):
                return await _recall_or_do(connection, tenant_id, seal, request, reply_type, work)
        if loop.time() > until:
            raise IdempotencyKeyInFlightError(
                "Another request with this key is being worked on.", retry_after_seconds=2
            )
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def expire(connection: Connection) -> None:
    """Forget keys that are too old. Needs the worker role: it looks at every tenant."""
    await connection.execute(
        "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => $1)", KEEP_HOURS
    )


async def _take_turn(connection: Connection, seal: "_Seal") -> bool:
    """Whether this transaction may answer under the key; nobody else may until it ends."""
    lock = int.from_bytes(seal.digest[:8], "big", signed=True)
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock))


async def _recall_or_do(
    connection: Connection,
    tenant_id: UUID,
    seal: "_Seal",
    request: bytes,
    reply_type: type[ReplyT],
    work: Work[ReplyT],
) -> tuple[ReplyT, bool]:
    row = await connection.fetchrow(
        """
        SELECT fingerprint, reply FROM idempotency_keys
        WHERE tenant_id = $1 AND key_digest = $2 AND created_at > now() - make_interval(hours => $3)
        """,
        tenant_id,
        seal.digest,
        KEEP_HOURS,
    )
    if row is not None:
        if row["fingerprint"] != request:
            raise IdempotencyKeyReusedError(
                "Another request came with this key before.",
                errors=[FieldError("Idempotency-Key", "was used for another request")],
            )
        return msgspec.json.decode(seal.open(row["reply"]), type=reply_type), False
    reply = await work(connection)
    await connection.execute(
        """
        INSERT INTO idempotency_keys (tenant_id, key_digest, fingerprint, reply) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, key_digest) DO UPDATE
            SET fingerprint = EXCLUDED.fingerprint, reply = EXCLUDED.reply, created_at = now()
        """,
        tenant_id,
        seal.digest,
        request,
        seal.close(msgspec.json.encode(reply)),
    )
    return reply, True


class _Seal:
    """Closes replies so that only who knows the idempotency key opens them (AES-256-GCM, HKDF-SHA-256)."""

    def __init__(self, tenant_id: UUID, key: str) -> None:
        owned = tenant_id.bytes + key.encode()
        self.digest = hashlib.sha256(b"quarry idempotency key" + owned).digest()
        self._secret = owned

    def _cipher(self) -> AESGCM:
        derived = HKDF(SHA256(), length=32, salt=None, info=b"quarry idempotent reply").derive(self._secret)
        return AESGCM(derived)

    def close(self, reply: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher().encrypt(nonce, reply, self.digest)

    def open(self, sealed: bytes) -> bytes:
        try:
            return self._cipher().decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self.digest)
        except InvalidTag:
            raise IdempotencyKeyReusedError("The answer under this key cannot be read.") from None
