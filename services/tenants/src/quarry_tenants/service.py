"""The tenants service put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files

from nats.aio.client import Client

from quarry_common import keys
from quarry_common.contracts import tenancy
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.rpc import RpcServer
from quarry_common.postgres.pool import connect_pool
from quarry_common.postgres.sessions import SilentSessions
from quarry_common.service import Service, ServiceDefinition
from quarry_tenants import repository
from quarry_tenants.handlers import SERVICE, Handlers
from quarry_tenants.housekeeping import Housekeeping
from quarry_tenants.settings import TenantsSettings


@asynccontextmanager
async def build(settings: TenantsSettings) -> AsyncIterator[Service]:
    """Connect, register the operator's key and yield the service."""
    async with connect_pool(settings, SERVICE) as database, broker.connect(settings, SERVICE) as bus:
        operator_key = keys.parse(settings.operator_key.get_secret_value())
        async with database.worker_transaction() as worker:
            await repository.set_operator_key(worker, new_id(), operator_key)
        yield Service(
            parts=[
                _server(bus, Handlers(database, settings.max_keys_per_tenant)),
                Relay(database, bus),
                Housekeeping(database),
                SilentSessions(database),
            ],
            checks={"database": database.check, "message_bus": partial(broker.check, bus)},
        )


def _server(bus: Client, handlers: Handlers) -> RpcServer:
    server = RpcServer(bus, SERVICE)
    server.answer(tenancy.RESOLVE_KEY, handlers.resolve_key)
    server.answer(tenancy.RESOLVE_SLUG, handlers.resolve_slug)
    server.answer(tenancy.CREATE_TENANT, handlers.create_tenant)
    server.answer(tenancy.LIST_TENANTS, handlers.list_tenants)
    server.answer(tenancy.CREATE_KEY, handlers.create_key)
    server.answer(tenancy.LIST_KEYS, handlers.list_keys)
    server.answer(tenancy.REVOKE_KEY, handlers.revoke_key)
    return server


definition = ServiceDefinition(
    name=SERVICE,
    settings=TenantsSettings,
    build=build,
    migrations=files("quarry_tenants") / "migrations",
)
