"""What the routes have at hand: settings, the other services, the blob store, and who is asking."""

from collections.abc import MutableMapping
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from nats.aio.client import Client

from quarry_common.blobs import BlobStore
from quarry_common.contracts.audit import ActorKind
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import UnavailableError
from quarry_common.health import Health
from quarry_common.messaging.rpc import RpcClient
from quarry_common.service import Part
from quarry_gateway.access.auth import Authenticator
from quarry_gateway.access.cors import Origins
from quarry_gateway.access.event_tokens import EventTokens
from quarry_gateway.access.trespasses import Trespasses
from quarry_gateway.audit import AuditTrail
from quarry_gateway.domain import Caller
from quarry_gateway.event_streams.room import Room
from quarry_gateway.interaction_log import InteractionLog
from quarry_gateway.limits.limits import Limits
from quarry_gateway.settings import GatewaySettings

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)

Call = Request[None, Caller, State]
"""A request; `auth` is who is asking."""

DENIALS = frozenset({403, 429})
NOT_FOUND = 404
BUFFERED_BYTES = 256 << 20
"""Bodies of JSON that all requests together may hold in memory."""


class Gateway:
    """Everything that a route needs; one for the process."""

    def __init__(
        self,
        settings: GatewaySettings,
        bus: Client,
        rpc: RpcClient,
        blobs: BlobStore,
        authenticator: Authenticator,
        audit: AuditTrail,
        limits: Limits,
        origins: Origins,
        interactions: InteractionLog,
        *,
        readiness: Health,
        dependencies: Health,
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.rpc = rpc
        self.blobs = blobs
        self.authenticator = authenticator
        self.audit = audit
        self.limits = limits
        self.origins = origins
        self.interactions = interactions
        self.event_tokens = EventTokens(settings.event_keys)
        self.trespasses = Trespasses(rpc, audit)
        self.proxies = settings.proxies
        """Networks whose word is taken for whom they pass on."""
        self.readiness = readiness
        self.dependencies = dependencies
        self.streams = Room(settings.max_event_streams, settings.max_event_streams_of_tenant)
        self._buffered_bytes = 0

    async def tell_rest(self) -> None:
        """Have written down what the last requests left; to be called when none is answered any more."""
        await self.trespasses.look()
        await self.audit.flush()

    @property
    def parts(self) -> list[Part]:
        """What works beside the requests, as long as the process does."""
        return [self.trespasses, self.audit, *self.limits.parts]

    def answered(self, scope: MutableMapping[str, Any], status: int) -> None:
        """Take note of how a request ended: of its key, and of ids that may be another tenant's."""
        caller = scope.get("auth")
        if not isinstance(caller, Caller) or caller.tenant is None:
            return
        if caller.kind is ActorKind.KEY:
            self.limits.key_use.note(caller.tenant, caller.key_id, denied=status in DENIALS)
        if status == NOT_FOUND:
            for name, value in scope.get("path_params", {}).items():
                self.trespasses.not_found(caller, name, str(value))

    async def ask(
        self, method: RpcMethod[RequestT, ReplyT], request: RequestT, timeout_seconds: float | None = None
    ) -> ReplyT:
        """Return another service's reply. Raises what it raised, or `UnavailableError`.

        `timeout_seconds` is for what takes longer, or must not take so long, as a request usually may.
        """
        allowed = timeout_seconds or self.settings.rpc_timeout_seconds
        return await self.rpc.call(method, request, timeout_seconds=allowed)

    def reserve(self, size_bytes: int) -> None:
        """Account for a piece of a body that is kept in memory. Raises `UnavailableError` beyond that."""
        self._buffered_bytes += size_bytes
        if self._buffered_bytes > BUFFERED_BYTES:
            self._buffered_bytes -= size_bytes
            raise UnavailableError("Too many large bodies are being read.", retry_after_seconds=2)

    def release(self, size_bytes: int) -> None:
        """Account for a body that is kept no longer."""
        self._buffered_bytes -= size_bytes


def gateway_of(request: Call) -> Gateway:
    """Return the gateway that `request` came to."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def reply(body: object, status: int = 200, **headers: str) -> Response[bytes]:
    """Answer with `body` as JSON; an underscore in a header's name stands for a dash."""
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
