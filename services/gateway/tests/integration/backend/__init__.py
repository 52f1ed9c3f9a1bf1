"""What stands behind the gateway, answered from memory and typed by the contracts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from nats.aio.client import Client

from quarry_common.contracts import analytics, api_keys, audit, usage
from quarry_common.errors import UnavailableError
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcServer
from quarry_common.settings import NatsSettings

from .documents import Documents
from .jobs import Jobs
from .searches import Searches
from .tenants import Tenants
from .webhooks import Webhooks

IN_THE_BACKGROUND = (
    audit.RecordActs,
    api_keys.ReportKeyUse,
    usage.LeaseSearches,
    usage.SettleSearches,
)
"""What a gateway tells besides what a request needs."""


class Backend(Tenants, Documents, Jobs, Webhooks, Searches):
    """What the services would answer: just enough state to tell right from wrong."""

    def __init__(self) -> None:
        for part in (Tenants, Documents, Jobs, Webhooks, Searches):
            part.__init__(self)
        self.asked: list[msgspec.Struct] = []
        """Every request that came, in order."""

    def answer_on(self, server: RpcServer, service: str) -> None:
        pairs = {
            "tenants": Tenants.answers(self),
            "indexer": [*Documents.answers(self), *Jobs.answers(self)],
            "webhooks": Webhooks.answers(self),
            "search": Searches.answers(self),
            "analytics": [(analytics.SAVE_SET, self.save_set)],
        }
        for method, handler in pairs[service]:
            server.answer(method, self._noted(handler))

    def _noted(self, handler):  # type: ignore[no-untyped-def]
        async def answer(asked: msgspec.Struct) -> msgspec.Struct:
            if not isinstance(asked, IN_THE_BACKGROUND):
                self.asked.append(asked)
            return await handler(asked)  # type: ignore[no-any-return]

        return answer

    async def save_set(self, asked: analytics.SaveSet) -> analytics.SetDetail:
        self.asked.append(asked)
        raise UnavailableError("There are no judged sets here.")


@asynccontextmanager
async def answering(backend: Backend, nats_url: str, *services: str) -> AsyncIterator[None]:
    """Answer for `services` until the block ends."""
    async with broker.connect(NatsSettings(nats_url=nats_url), "test-backend") as connection:
        stopping = asyncio.Event()
        servers = [RpcServer(connection, service) for service in services]
        for server, service in zip(servers, services, strict=True):
            backend.answer_on(server, service)
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.run(stopping))
            for server, service in zip(servers, services, strict=True):
                await _listening(connection, server, service)
            try:
                yield
            finally:
                stopping.set()


async def _listening(connection: Client, server: RpcServer, service: str) -> None:
    # The subscriptions are made on the server's first step; one flush later they are known to the bus.
    await asyncio.sleep(0)
    await connection.flush(timeout=5)
