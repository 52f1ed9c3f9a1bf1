"""Reading a request's body: bounded in bytes and in time."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from multipart import parse_options_header

from quarry_common.errors import MalformedError, PayloadTooLargeError
from quarry_gateway.forms.validation import Rules, decode_json, no_rules
from quarry_gateway.gateway import Call, gateway_of
from quarry_gateway.http.problems import IncompleteBodyError, RequestTimeoutError, UnsupportedMediaTypeError

StructT = TypeVar("StructT", bound=msgspec.Struct)

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
MULTIPART = "multipart/form-data"
MIB = 1 << 20


def content_type(request: Call) -> tuple[str, Mapping[str, str]]:
    """Return the body's media type in lower case and its parameters."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    return kind, options


class Body:
    """A request's body as it arrives; no generator, for an upload may drop it in the middle.

    Its next piece raises `PayloadTooLargeError` beyond `max_bytes` (at once when the length is announced),
    `RequestTimeoutError` when it stops coming, `IncompleteBodyError` when it breaks off.
    """

    def __init__(self, request: Call, *, max_bytes: int) -> None:
        self._receive = request.receive
        self._pause_seconds = gateway_of(request).settings.body_timeout_seconds
        self._max_bytes = max_bytes
        announced = request.headers.get("content-length", "")
        self._announced = int(announced) if announced.isdecimal() and len(announced) < 20 else 0
        self._size_bytes = 0
        self._more = True

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        while self._more:
            if max(self._announced, self._size_bytes) > self._max_bytes:
                raise PayloadTooLargeError(f"The body is larger than {self._max_bytes / MIB:g} MiB.")
            chunk = await self._piece()
            if chunk:
                return chunk
        if self._size_bytes > self._max_bytes:
            raise PayloadTooLargeError(f"The body is larger than {self._max_bytes / MIB:g} MiB.")
        raise StopAsyncIteration

    async def _piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._pause_seconds):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeoutError(f"Nothing arrived for {self._pause_seconds:g} s.") from None
        if message["type"] != "http.request":
            raise IncompleteBodyError
        self._more = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        self._size_bytes += len(chunk)
        return chunk


@asynccontextmanager
async def buffered(request: Call, kinds: Collection[str] = (JSON,)) -> AsyncIterator[bytes]:
    """Yield the whole body, which counts as kept in memory until the block ends.

    Raises `UnsupportedMediaTypeError` for a type not among `kinds`, `MalformedError` when there is no body,
    `PayloadTooLargeError`, and what `Body` raises.
    """
    found, options = content_type(request)
    if found not in kinds or options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaTypeError(f"The route reads {' or '.join(kinds)} in UTF-8.")
    gateway = gateway_of(request)
    body = bytearray()
    try:
        async for chunk in Body(request, max_bytes=gateway.settings.max_json_mb * MIB):
            gateway.reserve(len(chunk))
            body += chunk
        if not body:
            raise MalformedError("The body is empty; the route needs a JSON object.")
        yield bytes(body)
    finally:
        gateway.release(len(body))


async def read_json(
    request: Call, kind: type[StructT], rules: Rules = no_rules, *, kinds: Collection[str] = (JSON,)
) -> StructT:
    """Return the JSON body as `kind`; all that is wrong with it, by its types or by `rules`, is told at once.

    `kinds` are the media types that it may come as. Raises `UnsupportedMediaTypeError`, `MalformedError`,
    `PayloadTooLargeError` or `ValidationError`.
    """
    async with buffered(request, kinds) as body:
        return decode_json(body, kind, rules)
