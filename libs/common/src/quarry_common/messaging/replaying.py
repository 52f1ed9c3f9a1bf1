"""What a service with an outbox answers to `rpc.v1.<service>.replay_events`."""

from quarry_common.contracts.replaying import EventsReplayed, OutboxService, ReplayEvents, replay_of
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.rpc import RpcServer
from quarry_common.postgres.idempotency import fingerprint, once
from quarry_common.postgres.pool import Connection, Database


def answer_replays(server: RpcServer, service: OutboxService, database: Database, relay: Relay) -> None:
    """Let `server` answer for the outbox of `service`. Its schema has the table of idempotency keys, too."""

    async def replay(asked: ReplayEvents) -> EventsReplayed:
        async def work(_: Connection) -> EventsReplayed:
            # A transaction of its own, by the worker: one of a tenant may not touch what others wrote.
            return EventsReplayed(await relay.republish(asked.since, asked.until, asked.tenant_id))

        request = fingerprint("replay_events", asked.since, asked.until, asked.tenant_id)
        replayed, _ = await once(
            database, PLATFORM_TENANT, asked.idempotency_key, request, EventsReplayed, work
        )
        return replayed

    server.answer(replay_of(service), replay)
