"""The tenants service put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.resources import files

from nats.aio.client import Client

from quarry_common import keys
from quarry_common.contracts import api_keys, domains, purging, signing_keys, tenancy, usage
from quarry_common.contracts import audit as audit_contract
from quarry_common.contracts.replaying import OutboxService
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.heartbeat import Heartbeat
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.replaying import answer_replays
from quarry_common.messaging.rpc import RpcServer
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.postgres.sessions import SilentSessions
from quarry_common.service import Service, ServiceDefinition
from quarry_tenants.domain.domains import suffixes
from quarry_tenants.domain_checks import DomainChecks
from quarry_tenants.handlers import SERVICE
from quarry_tenants.handlers.audit import Audit
from quarry_tenants.handlers.domains import DomainHandlers
from quarry_tenants.handlers.key_use import KeyUse
from quarry_tenants.handlers.keys import Keys
from quarry_tenants.handlers.purges import Purges
from quarry_tenants.handlers.searches import Searches
from quarry_tenants.handlers.signing_keys import SigningKeyHandlers
from quarry_tenants.handlers.tenants import Tenants
from quarry_tenants.housekeeping import Housekeeping
from quarry_tenants.purging import Purging
from quarry_tenants.repository import keys as key_repository
from quarry_tenants.settings import TenantsSettings
from quarry_tenants.stores import Stores
from quarry_tenants.txt_records import DnsResolver, nameservers


@asynccontextmanager
async def build(settings: TenantsSettings) -> AsyncIterator[Service]:
    """Connect, register the operator's key and yield the service."""
    async with connect_pool(settings, SERVICE) as database, broker.connect(settings, SERVICE) as bus:
        operator_key = keys.parse(settings.operator_key.get_secret_value())
        async with database.worker_transaction() as worker:
            await key_repository.set_operator(worker, new_id(), operator_key)
        server = _server(bus, database, settings)
        resolver = DnsResolver(nameservers(settings.domain_nameservers))
        _answer_for_domains(server, DomainHandlers(database, resolver, suffixes(settings.reserved_domains)))
        _answer_for_signing_keys(server, SigningKeyHandlers(database))
        relay = Relay(database, bus)
        answer_replays(server, OutboxService.TENANTS, database, relay)
        yield Service(
            parts=[
                server,
                DomainChecks(database, resolver),
                relay,
                Heartbeat(bus, SERVICE, relay.lag_ms),
                Housekeeping(database),
                Purging(database, Stores(database, bus).all()),
                SilentSessions(database),
            ],
            checks={"database": database.check, "message_bus": partial(broker.check, bus)},
        )


def _server(bus: Client, database: Database, settings: TenantsSettings) -> RpcServer:
    server = RpcServer(bus, SERVICE)
    tenants = Tenants(database, timedelta(hours=settings.tenant_grace_hours))
    server.answer(tenancy.RESOLVE_SLUG, tenants.resolve_slug)
    server.answer(tenancy.GET_TENANT, tenants.get)
    server.answer(tenancy.LIST_TENANTS, tenants.list)
    server.answer(tenancy.CREATE_TENANT, tenants.create)
    server.answer(tenancy.UPDATE_TENANT, tenants.update)
    server.answer(tenancy.DELETE_TENANT, tenants.delete)
    server.answer(tenancy.RESTORE_TENANT, tenants.restore)
    server.answer(domains.RESOLVE_ORIGIN, tenants.resolve_origin)
    key_handlers = Keys(database)
    server.answer(api_keys.RESOLVE_KEY, key_handlers.resolve)
    server.answer(api_keys.VERIFY_KEY, key_handlers.verify)
    server.answer(api_keys.CREATE_KEY, key_handlers.create)
    server.answer(api_keys.ROTATE_KEY, key_handlers.rotate)
    server.answer(api_keys.LIST_KEYS, key_handlers.list)
    server.answer(api_keys.GET_KEY, key_handlers.get)
    server.answer(api_keys.REVOKE_KEY, key_handlers.revoke)
    server.answer(audit_contract.OWNERS_OF_KEYS, key_handlers.owners)
    key_use = KeyUse(database, timedelta(days=settings.key_dormant_days))
    server.answer(api_keys.REPORT_KEY_USE, key_use.report)
    server.answer(api_keys.KEY_USAGE, key_use.usage)
    searches = Searches(database)
    server.answer(usage.LEASE_SEARCHES, searches.lease)
    server.answer(usage.SETTLE_SEARCHES, searches.settle)
    server.answer(usage.REPORT_SEARCHES, searches.report)
    server.answer(usage.SEARCH_DAYS, searches.days)
    server.answer(purging.GET_RECEIPT, Purges(database).receipt)
    audit = Audit(database)
    server.answer(audit_contract.RECORD_ACTS, audit.record)
    server.answer(audit_contract.LIST_AUDIT, audit.list)
    server.answer(audit_contract.VERIFY_AUDIT, audit.verify)
    return server


def _answer_for_domains(server: RpcServer, handlers: DomainHandlers) -> None:
    server.answer(domains.REGISTER_DOMAIN, handlers.register)
    server.answer(domains.CHECK_DOMAIN, handlers.check)
    server.answer(domains.LIST_DOMAINS, handlers.list)
    server.answer(domains.REMOVE_DOMAIN, handlers.remove)
    server.answer(domains.RESOLVE_HOST, handlers.resolve_host)


def _answer_for_signing_keys(server: RpcServer, handlers: SigningKeyHandlers) -> None:
    server.answer(signing_keys.CREATE_SIGNING_KEY, handlers.create)
    server.answer(signing_keys.LIST_SIGNING_KEYS, handlers.list)
    server.answer(signing_keys.REVOKE_TOKENS, handlers.revoke)
    server.answer(signing_keys.RESOLVE_SIGNING_KEY, handlers.resolve)


definition = ServiceDefinition(
    name=SERVICE,
    settings=TenantsSettings,
    build=build,
    migrations=files("quarry_tenants") / "migrations",
)
