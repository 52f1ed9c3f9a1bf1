"""Replays: asked for and read. The work itself is done by whichever process claims it."""

from datetime import UTC, datetime

import msgspec

from quarry_common.contracts.webhooks import Replay, ReplayRef, StartReplay
from quarry_common.errors import NotFoundError
from quarry_common.ids import new_id
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database
from quarry_webhooks.domain import replays as rules
from quarry_webhooks.handlers.endpoints import anonymous, locked, require
from quarry_webhooks.repository import replays as repository


class Replays:
    """Answers on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, request: StartReplay) -> Replay:
        """Store a replay that is to be done; what happens after this moment is no part of it.

        Raises `NotFoundError`, `ValidationError`, and `ConflictError` when too many have not ended.
        """
        ref, now = request.ref, datetime.now(UTC)

        async def store(connection: Connection) -> Replay:
            endpoint = await locked(connection, ref)
            rules.check_range(request, now)
            rules.check_open(await repository.unfinished(connection, ref.endpoint_id))
            types = request.event_types or endpoint.event_types
            wanted = msgspec.structs.replace(request, event_types=types)
            return await repository.add(connection, new_id(), wanted, min(request.until, now))

        asked = fingerprint(
            "start_replay", msgspec.structs.replace(request, idempotency_key=None, ref=anonymous(ref))
        )
        started, _ = await once(self._database, ref.tenant_id, request.idempotency_key, asked, Replay, store)
        return started

    async def get(self, request: ReplayRef) -> Replay:
        """Return how far a replay is. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(request.endpoint.tenant_id) as connection:
            await require(connection, request.endpoint)
            replay = await repository.find(connection, request.endpoint.endpoint_id, request.replay_id)
        if replay is None:
            raise NotFoundError("There is no such replay.")
        return replay
