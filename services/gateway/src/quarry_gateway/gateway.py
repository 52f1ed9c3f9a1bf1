"""What the routes have at hand: settings, the other services, the blob store, and who is asking."""

from typing import TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State

from quarry_common.blobs import BlobStore
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import UnavailableError
from quarry_common.health import Health
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.auth import Authenticator
from quarry_gateway.domain import Caller
from quarry_gateway.settings import GatewaySettings

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)

Call = Request[None, Caller, State]
"""A request; `auth` is who is asking."""

BUFFERED_BYTES = 256 << 20
"""Bodies of JSON that all requests together may hold in memory."""


class Gateway:
    """Everything that a route needs; one for the process."""

    def __init__(
        self,
        settings: GatewaySettings,
        rpc: RpcClient,
        blobs: BlobStore,
        authenticator: Authenticator,
        *,
        readiness: Health,
        dependencies: Health,
    ) -> None:
        self.settings = settings
        self.rpc = rpc
        self.blobs = blobs
        self.authenticator = authenticator
        self.readiness = readiness
        self.dependencies = dependencies
        self._buffered_bytes = 0

    async def ask(self, method: RpcMethod[RequestT, ReplyT], request: RequestT) -> ReplyT:
        """Return another service's reply. Raises what it raised, or `UnavailableError`."""
        return await self.rpc.call(method, request, timeout_seconds=self.settings.rpc_timeout_seconds)

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
