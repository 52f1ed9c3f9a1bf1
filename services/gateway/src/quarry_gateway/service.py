"""Composition root of the gateway."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from quarry_common.blobs import open_store
from quarry_common.cache.control import CacheControl
from quarry_common.contracts.caches import ForgetCached
from quarry_common.health import Health
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient
from quarry_common.service import Service, ServiceDefinition
from quarry_common.telemetry.tracing import instance_id
from quarry_gateway.access.auth import Authenticator
from quarry_gateway.access.cors import Origins
from quarry_gateway.app import create_app
from quarry_gateway.audit import AuditTrail
from quarry_gateway.gateway import Gateway
from quarry_gateway.health.checks import MESSAGE_BUS, open_checks
from quarry_gateway.health.watch import HealthWatch
from quarry_gateway.http.server import HttpServer
from quarry_gateway.interaction_log import InteractionLog
from quarry_gateway.limits.limits import open_limits
from quarry_gateway.settings import GatewaySettings

SERVICE = "gateway"


@asynccontextmanager
async def build(settings: GatewaySettings) -> AsyncIterator[Service]:
    """Open what the gateway needs, yield it, and close all."""
    blobs = open_store(settings)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(broker.connect(settings, SERVICE))
        rpc = RpcClient(connection)
        limits = await stack.enter_async_context(open_limits(settings, rpc))
        checks = await stack.enter_async_context(open_checks(settings, connection, rpc))
        origins = Origins(rpc)
        authenticator = Authenticator(
            rpc,
            ttl_seconds=settings.key_cache_seconds,
            timeout_seconds=settings.rpc_timeout_seconds,
            own_hosts=settings.own_hosts,
            tenant_changed=origins.forget,
        )
        await authenticator.listen(connection)
        # A gateway takes requests while the bus is there; what else is down, each request tells.
        readiness = Health({MESSAGE_BUS: checks[MESSAGE_BUS]})
        dependencies = Health(checks)
        watch = HealthWatch(dependencies, connection, interval_seconds=settings.health_check_seconds)
        gateway = Gateway(
            settings,
            connection,
            rpc,
            blobs,
            authenticator,
            AuditTrail(rpc),
            limits,
            origins,
            InteractionLog(connection),
            readiness=readiness,
            dependencies=dependencies,
        )
        server = HttpServer(create_app(gateway), settings.http_host, settings.http_port)

        async def forget(asked: ForgetCached) -> int:
            return authenticator.forget_tenant(asked.tenant_id)

        control = CacheControl(connection, SERVICE, instance_id(settings), authenticator.caches, forget)
        yield Service(parts=[server, control, watch, *gateway.parts], health=readiness)
        await gateway.tell_rest()


definition = ServiceDefinition(name=SERVICE, settings=GatewaySettings, build=build)
