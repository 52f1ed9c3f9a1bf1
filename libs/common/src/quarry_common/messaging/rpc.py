"""Requests between services over core NATS: typed, with a deadline, a trace and typed errors.

The body is the request's struct as JSON. The deadline travels as milliseconds still allowed, so that clocks
need not agree; a request that is already late is not begun. An error reply carries `ErrorData`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError

from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import (
    DeadlineExceededError,
    ErrorData,
    FieldError,
    PayloadTooLargeError,
    RemoteError,
    UnavailableError,
    ValidationError,
    error_data,
)
from quarry_common.telemetry import tracing
from quarry_common.telemetry.metrics import RPC_IN_FLIGHT, RPC_SECONDS

log = logging.getLogger(__name__)

RequestT = TypeVar("RequestT", bound=msgspec.Struct)
ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)

DEADLINE_HEADER = "Quarry-Timeout-Ms"
ERROR_HEADER = "Quarry-Error"
DRAIN_SECONDS = 5.0
WAITING_PER_WORKER = 16
"""Requests that may wait for each one that is being answered; beyond, callers are told to come back."""

_encode = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(ErrorData).decode


class RpcClient:
    """Calls methods of other services."""

    def __init__(self, connection: Client) -> None:
        self._connection = connection
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}

    async def call(
        self, method: RpcMethod[RequestT, ReplyT], request: RequestT, *, timeout_seconds: float = 5.0
    ) -> ReplyT:
        """Return the reply of `method`.

        Raises `RemoteError` with what the service said, `UnavailableError` when none listens, and
        `DeadlineExceededError` when no reply came in time: then it is unknown whether the work was done.
        """
        with tracing.span(
            f"rpc {method.service}.{method.name}",
            kind=tracing.CLIENT,
            attributes={"rpc.system": "nats", "rpc.service": method.service, "rpc.method": method.name},
        ):
            headers = tracing.headers()
            headers[DEADLINE_HEADER] = str(int(timeout_seconds * 1000))
            message = await self._send(method, _encode(request), headers, timeout_seconds)
            if message.headers and ERROR_HEADER in message.headers:
                raise RemoteError(_decode_error(message.data))
            return self._reply(method, message)

    async def gather(
        self, method: RpcMethod[RequestT, ReplyT], request: RequestT, *, seconds: float
    ) -> list[ReplyT]:
        """Return what each process that answers `method` replies within `seconds`; it always takes that long.

        Who fails is logged and left out, as who is late. Raises `UnavailableError`.
        """
        headers = tracing.headers() | {DEADLINE_HEADER: str(int(seconds * 1000))}
        replies: list[ReplyT] = []
        if not self._connection.is_connected:
            raise UnavailableError("The message bus cannot be reached.", retry_after_seconds=2)
        inbox = self._connection.new_inbox()
        try:
            heard = await self._connection.subscribe(inbox)
            try:
                await self._connection.publish(method.subject, _encode(request), inbox, headers)
                async with asyncio.timeout(seconds):
                    async for message in heard.messages:
                        if not message.data:
                            return []  # from the server: nobody listens
                        if message.headers and ERROR_HEADER in message.headers:
                            log.warning("%s failed: %s", method.subject, _decode_error(message.data).detail)
                            continue
                        replies.append(self._reply(method, message))
            finally:
                await heard.unsubscribe()
        except TimeoutError:
            return replies
        except (NatsError, OSError) as error:
            raise UnavailableError("The message bus cannot be reached.", retry_after_seconds=2) from error
        return replies

    def _reply(self, method: RpcMethod[Any, ReplyT], message: Msg) -> ReplyT:
        decoder = self._decoders.get(method.subject)
        if decoder is None:
            decoder = self._decoders[method.subject] = msgspec.json.Decoder(method.reply)
        reply: ReplyT = decoder.decode(message.data)
        return reply

    async def _send(
        self, method: RpcMethod[Any, Any], body: bytes, headers: dict[str, str], timeout_seconds: float
    ) -> Msg:
        if len(body) > self._connection.max_payload - 4096:
            raise PayloadTooLargeError("The request is too large for a message between services.")
        if not self._connection.is_connected:
            # It would be kept and sent after reconnecting, when the caller has long given up.
            raise UnavailableError("The message bus cannot be reached.", retry_after_seconds=2)
        try:
            return await self._connection.request(
                method.subject, body, timeout=timeout_seconds, headers=headers
            )
        except NoRespondersError as error:
            raise UnavailableError(
                f"The {method.service} service is not running.", retry_after_seconds=2
            ) from error
        except (NatsTimeoutError, TimeoutError) as error:
            raise DeadlineExceededError(
                f"The {method.service} service did not answer within {timeout_seconds:g} s.",
                retry_after_seconds=2,
            ) from error
        except (ConnectionClosedError, OutboundBufferLimitError, OSError) as error:
            raise UnavailableError("The message bus cannot be reached.", retry_after_seconds=2) from error


class _Route(msgspec.Struct, frozen=True):
    method: RpcMethod[Any, Any]
    handler: Callable[[Any], Awaitable[msgspec.Struct]]
    decoder: Any
    queue: str


class RpcServer:
    """Answers requests as one of the service's queue group; a bounded number at a time."""

    def __init__(self, connection: Client, service: str, concurrency: int = 64) -> None:
        self._connection = connection
        self._service = service
        self._slots = asyncio.Semaphore(concurrency)
        self._bound = concurrency * (1 + WAITING_PER_WORKER)
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: list[_Route] = []

    def answer(
        self,
        method: RpcMethod[RequestT, ReplyT],
        handler: Callable[[RequestT], Awaitable[ReplyT]],
        *,
        each: bool = False,
    ) -> None:
        """Let `handler` answer `method`. Its `QuarryError` reaches the caller; any other is logged.

        With `each` every process answers every request, for `RpcClient.gather`.
        """
        queue = "" if each else self._service
        self._routes.append(_Route(method, handler, msgspec.json.Decoder(method.request), queue))

    async def run(self, stopping: asyncio.Event) -> None:
        """Answer until `stopping` is set; then take no more and finish what was begun."""
        subscriptions = [
            await self._connection.subscribe(
                route.method.subject, queue=route.queue, cb=self._receiver(route)
            )
            for route in self._routes
        ]
        await self._connection.flush(timeout=5)
        await stopping.wait()
        await self._drain(subscriptions)

    async def _drain(self, subscriptions: Sequence[Subscription]) -> None:
        # Without a server there is nothing to unsubscribe from and nobody to answer.
        try:
            if self._connection.is_connected:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await asyncio.gather(*(subscription.drain() for subscription in subscriptions))
        except (NatsError, TimeoutError, OSError) as error:
            log.warning("requests could not be unsubscribed: %s", type(error).__name__)
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            if self._connection.is_connected:
                await self._connection.flush(timeout=5)
        except (NatsError, TimeoutError, OSError) as error:
            log.warning("the last replies may not have been sent: %s", type(error).__name__)

    def _receiver(self, route: _Route) -> Callable[[Msg], Awaitable[None]]:
        async def receive(message: Msg) -> None:
            if len(self._tasks) >= self._bound:
                busy = UnavailableError(f"The {self._service} service is overloaded.", retry_after_seconds=1)
                await self._reply(message, _encode(busy.data), failed=True)
                return
            task = asyncio.create_task(self._serve(route, message, time.monotonic()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return receive

    async def _serve(self, route: _Route, message: Msg, arrived: float) -> None:
        headers = message.headers or {}
        allowed = _seconds(headers.get(DEADLINE_HEADER))
        method = route.method
        outcome = "ok"
        with (
            RPC_IN_FLIGHT.track_inprogress(),
            tracing.span(
                f"{method.service}.{method.name}",
                kind=tracing.SERVER,
                headers=headers,
                attributes={"rpc.system": "nats", "rpc.service": method.service, "rpc.method": method.name},
            ) as opened,
        ):
            try:
                async with asyncio.timeout(allowed), self._slots:
                    body = _encode(await route.handler(_decode(route, message.data)))
            except TimeoutError:
                outcome = DeadlineExceededError.code
                late = DeadlineExceededError(f"{method.name} was not done within {allowed:g} s.")
                await self._reply(message, _encode(late.data), failed=True)
            except Exception as error:
                data = error_data(error)
                outcome = data.code
                opened.record_exception(error)
                if data.status >= 500:
                    opened.set_status(tracing.failed(data.code))
                    log.exception("%s failed", method.subject, extra={"code": data.code})
                await self._reply(message, _encode(data), failed=True)
            else:
                await self._reply(message, body, failed=False)
        RPC_SECONDS.labels(method.name, outcome).observe(time.monotonic() - arrived)

    async def _reply(self, message: Msg, body: bytes, *, failed: bool) -> None:
        if not message.reply:
            return
        if len(body) > self._connection.max_payload - 4096:
            failed = True
            body = _encode(PayloadTooLargeError("The answer is too large; ask for less at once.").data)
        headers = {ERROR_HEADER: "1"} if failed else None
        try:
            await self._connection.publish(message.reply, body, headers=headers)
        except (ConnectionClosedError, OutboundBufferLimitError, OSError) as error:
            log.warning("a reply could not be sent: %s", type(error).__name__)


def _decode(route: _Route, body: bytes) -> Any:
    try:
        return route.decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        text, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        raise ValidationError("The request is not valid.", errors=[FieldError(field, text)]) from None


def _seconds(header: str | None) -> float:
    try:
        return min(max(int(header or ""), 1), 600_000) / 1000
    except ValueError:
        return 30.0
