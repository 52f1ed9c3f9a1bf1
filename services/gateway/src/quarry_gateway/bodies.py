"""Reading a request's body: bounded in bytes and in time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import msgspec
from multipart import parse_options_header  # type: ignore[import-untyped]

from quarry_common.errors import MalformedError, PayloadTooLargeError
from quarry_gateway.gateway import Call, gateway_of
from quarry_gateway.problems import ClientGoneError, RequestTimeoutError, UnsupportedMediaTypeError
from quarry_gateway.validation import decode_json

StructT = TypeVar("StructT", bound=msgspec.Struct)

JSON = "application/json"
MULTIPART = "multipart/form-data"
MIB = 1 << 20


def content_type(request: Call) -> tuple[str, Mapping[str, str]]:
    """Return the body's media type in lower case and its parameters."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    return kind, options


async def chunks(request: Call, *, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises `PayloadTooLargeError` beyond `max_bytes` (at once when the length is announced),
    `RequestTimeoutError` when it stops coming, `ClientGoneError` when the client has gone.
    """
    pause_seconds = gateway_of(request).settings.body_timeout_seconds
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and len(announced) < 20 and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    size_bytes = 0
    more = True
    while more:
        try:
            async with asyncio.timeout(pause_seconds):
                message = await request.receive()
        except TimeoutError:
            raise RequestTimeoutError(f"Nothing arrived for {pause_seconds:g} s.") from None
        if message["type"] != "http.request":
            raise ClientGoneError
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise _too_large(max_bytes)
        if chunk:
            yield chunk


async def read_json(request: Call, kind: type[StructT]) -> StructT:
    """Return the JSON body as `kind`; all that is wrong with it is told at once.

    Raises `UnsupportedMediaTypeError`, `MalformedError`, `PayloadTooLargeError` or `ValidationError`.
    """
    found, options = content_type(request)
    if found != JSON or options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaTypeError(f"The route reads {JSON} in UTF-8.")
    gateway = gateway_of(request)
    body = bytearray()
    try:
        async for chunk in chunks(request, max_bytes=gateway.settings.max_json_mb * MIB):
            gateway.reserve(len(chunk))
            body += chunk
        if not body:
            raise MalformedError("The body is empty; the route needs a JSON object.")
        return decode_json(bytes(body), kind)
    finally:
        gateway.release(len(body))


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is larger than {max_bytes / MIB:g} MiB.")
