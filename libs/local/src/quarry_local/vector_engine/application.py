"""The HTTP face: reads a request, runs its operation, writes the answer in Qdrant's form."""

import asyncio
import logging
import time
from importlib.metadata import version

import msgspec
from aiohttp import web

from quarry_common.errors import QuarryError
from quarry_local.vector_engine.errors import BusyError, FormatError, TooLargeError
from quarry_local.vector_engine.metrics import Metrics
from quarry_local.vector_engine.routes import find
from quarry_local.vector_engine.store import Store

BODY_TIMEOUT_SECONDS = 60.0
MAX_REQUESTS_AT_ONCE = 512
QDRANT_VERSION = version("qdrant-client")
"""The version of the API that is spoken: clients refuse a server of another minor version."""

_JSON = {"content-type": "application/json"}
_TEXT = {"content-type": "text/plain; charset=utf-8"}
_METRICS = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}

log = logging.getLogger(__name__)
encoder = msgspec.json.Encoder()


class Application:
    """Answers requests on a store until it is told to drain."""

    def __init__(self, store: Store, max_body_bytes: int) -> None:
        self._store = store
        self._metrics = Metrics(store)
        self._max_body_bytes = max_body_bytes
        self._active = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def drain(self, timeout_seconds: float) -> bool:
        """Refuse new requests and wait for those being answered; return whether all were."""
        self._draining = True
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        path = request.path
        if not path.startswith("/collections"):
            return await self._about(path)
        self._active += 1
        self._idle.clear()
        try:
            return await self._answer(request, path)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _answer(self, request: web.BaseRequest, path: str) -> web.Response:
        started = time.perf_counter()
        name, status = "unknown", 200
        try:
            self._admit()
            route, target = find(self._store, request.method, path, request.rel_url.raw_query_string)
            name = route.name
            body = await self._body(request) if route.has_body else b""
            result = await route.answer(target, body)
            answer = encoder.encode({"result": result, "status": "ok", "time": time.perf_counter() - started})
        except QuarryError as error:
            status, answer = error.data.status, _error(error.data.detail, started)
        except Exception:
            log.exception("%s %s failed", request.method, path)
            status, answer = 500, _error("Service internal error: see the vector engine's log", started)
        self._metrics.observe(name, status, time.perf_counter() - started)
        return web.Response(status=status, headers=_JSON, body=answer)

    def _admit(self) -> None:
        if self._draining:
            raise BusyError("the vector engine is stopping; try again when it is back")
        if self._active > MAX_REQUESTS_AT_ONCE:
            raise BusyError(f"{MAX_REQUESTS_AT_ONCE} requests are being answered; send fewer at a time")

    async def _body(self, request: web.BaseRequest) -> bytes:
        limit = self._max_body_bytes
        length = request.content_length
        if length is not None and length > limit:
            raise TooLargeError(
                f"the body has {length} bytes; the limit is {limit}: send fewer points at a time"
            )
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                body = bytearray()
                async for piece in request.content.iter_any():
                    body += piece
                    if len(body) > limit:
                        raise TooLargeError(
                            f"the body is over the limit of {limit} bytes: send fewer points at a time"
                        )
                return bytes(body)
        except TimeoutError:
            raise FormatError(f"the body: it did not arrive within {BODY_TIMEOUT_SECONDS:.0f} s") from None

    async def _about(self, path: str) -> web.Response:
        if path == "/":
            about = {"title": "qdrant - embedded vector engine of Quarry", "version": QDRANT_VERSION}
            return web.Response(headers=_JSON, body=encoder.encode(about))
        if path == "/metrics":
            return web.Response(headers=_METRICS, body=await self._metrics.text())
        if path == "/readyz" and self._draining:
            return web.Response(status=503, headers=_TEXT, body=b"the vector engine is stopping")
        if path in {"/readyz", "/livez", "/healthz"}:
            return web.Response(headers=_TEXT, body=f"{path[1:]} check passed".encode())
        detail = f"Not found: the embedded vector engine has no {path[:200]}"
        return web.Response(status=404, headers=_JSON, body=_error(detail, time.perf_counter()))


def _error(detail: str, started: float) -> bytes:
    return encoder.encode({"status": {"error": detail}, "time": time.perf_counter() - started})
