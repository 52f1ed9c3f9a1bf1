"""The webhooks service put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files

from nats.aio.client import Client

from quarry_common.contracts import webhooks
from quarry_common.contracts.audit import OWNERS_OF_WEBHOOKS
from quarry_common.contracts.replaying import OutboxService
from quarry_common.contracts.streams import WEBHOOKS_EVENTS
from quarry_common.messaging import broker
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.replaying import answer_replays
from quarry_common.messaging.rpc import RpcServer
from quarry_common.messaging.watchdog import consumers_exist
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.postgres.sessions import SilentSessions
from quarry_common.service import Service, ServiceDefinition
from quarry_webhooks import composition
from quarry_webhooks.egress.sending import Sender
from quarry_webhooks.handlers import SERVICE
from quarry_webhooks.handlers.deliveries import Deliveries
from quarry_webhooks.handlers.endpoints import Endpoints
from quarry_webhooks.handlers.purges import Purges
from quarry_webhooks.handlers.replays import Replays
from quarry_webhooks.handlers.stats import StatsHandlers
from quarry_webhooks.sealing import Sealer
from quarry_webhooks.settings import WebhooksSettings


@asynccontextmanager
async def build(settings: WebhooksSettings) -> AsyncIterator[Service]:
    """Connect, and yield the service."""
    async with (
        connect_pool(settings, SERVICE) as database,
        broker.connect(settings, SERVICE) as bus,
        _sending(settings) as sender,
    ):
        sealer = Sealer(settings.encryption_keys)
        server = _server(bus, database, sealer, settings)
        relay = Relay(database, bus)
        answer_replays(server, OutboxService.WEBHOOKS, database, relay)
        yield Service(
            parts=[
                server,
                *composition.parts(database, bus, sender, sealer, settings.rules, now),
                relay,
                SilentSessions(database),
            ],
            checks={
                "database": database.check,
                "message_bus": partial(broker.check, bus),
                "consumers": consumers_exist(bus, [WEBHOOKS_EVENTS]),
            },
        )


def now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


@asynccontextmanager
async def _sending(settings: WebhooksSettings) -> AsyncIterator[Sender]:
    sender = Sender(settings.policy, settings.limits)
    try:
        yield sender
    finally:
        await sender.close()


def _server(bus: Client, database: Database, sealer: Sealer, settings: WebhooksSettings) -> RpcServer:
    server = RpcServer(bus, SERVICE)
    endpoints = Endpoints(database, sealer, settings)
    server.answer(webhooks.CREATE_ENDPOINT, endpoints.create)
    server.answer(webhooks.GET_ENDPOINT, endpoints.get)
    server.answer(webhooks.LIST_ENDPOINTS, endpoints.list)
    server.answer(webhooks.UPDATE_ENDPOINT, endpoints.update)
    server.answer(webhooks.DELETE_ENDPOINT, endpoints.delete)
    server.answer(webhooks.ROTATE_SECRET, endpoints.rotate)
    server.answer(OWNERS_OF_WEBHOOKS, endpoints.owners)
    deliveries = Deliveries(database)
    server.answer(webhooks.SEND_TEST, deliveries.send_test)
    server.answer(webhooks.LIST_DELIVERIES, deliveries.list)
    server.answer(webhooks.GET_DELIVERY, deliveries.get)
    server.answer(webhooks.REDELIVER, deliveries.redeliver)
    replays = Replays(database)
    server.answer(webhooks.START_REPLAY, replays.start)
    server.answer(webhooks.GET_REPLAY, replays.get)
    stats = StatsHandlers(database)
    server.answer(webhooks.ENDPOINT_STATS, stats.of_endpoint)
    server.answer(webhooks.WEBHOOKS_OVERVIEW, stats.overview)
    server.answer(webhooks.PURGE_WEBHOOKS, Purges(database).purge)
    return server


definition = ServiceDefinition(
    name=SERVICE,
    settings=WebhooksSettings,
    build=build,
    migrations=files("quarry_webhooks") / "migrations",
)
