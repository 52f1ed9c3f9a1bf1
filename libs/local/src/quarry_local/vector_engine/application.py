"""The HTTP face (RSGI): reads a request, runs its operation, writes the answer in Qdrant's form."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Protocol

import msgspec

from quarry_common.errors import QuarryError
from quarry_local.vector_engine.errors import BusyError, FormatError, TooLargeError
from quarry_local.vector_engine.metrics import Metrics
from quarry_local.vector_engine.routes import bound, find
from quarry_local.vector_engine.store import Store

BODY_TIMEOUT_SECONDS = 60.0
QDRANT_VERSION = version("qdrant-client")
"""The version of the API that is spoken: clients refuse a server of another minor version."""

_JSON = [("content-type", "application/json")]
_TEXT = [("content-type", "text/plain; charset=utf-8")]
_METRICS = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]

log = logging.getLogger(__name__)
encoder = msgspec.json.Encoder()


class Headers(Protocol):
    """The headers of a request."""

    def get(self, key: str) -> str | None:
        """Return a header by its lower-case name."""


class Scope(Protocol):
    """What RSGI says of a request."""

    proto: str
    method: str
    path: str
    query_string: str
    headers: Headers


class Http(Protocol):
    """RSGI's connection of one request."""

    async def __call__(self) -> bytes:
        """Return the whole body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the body in pieces."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer."""


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

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        if scope.proto != "http":
            return
        path = scope.path
        if not path.startswith("/collections"):
            self._about(path, http)
            return
        self._active += 1
        self._idle.clear()
        try:
            await self._answer(scope, path, http)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _answer(self, scope: Scope, path: str, http: Http) -> None:
        started = time.perf_counter()
        name, status = "unknown", 200
        try:
            self._admit()
            route, target = find(self._store, scope.method, path, scope.query_string)
            name = route.name
            body = await self._body(scope, http) if route.body is not None else b""
            result = await bound(route, target, body)()
            answer = encoder.encode({"result": result, "status": "ok", "time": time.perf_counter() - started})
        except QuarryError as error:
            status, answer = error.data.status, _error(error.data.detail, started)
        except Exception:
            log.exception("%s %s failed", scope.method, path)
            status, answer = 500, _error("Service internal error: see the vector engine's log", started)
        http.response_bytes(status, _JSON, answer)
        self._metrics.observe(name, status, time.perf_counter() - started)

    def _admit(self) -> None:
        if self._draining:
            raise BusyError("the vector engine is stopping; try again when it is back")

    async def _body(self, scope: Scope, http: Http) -> bytes:
        limit = self._max_body_bytes
        length = scope.headers.get("content-length")
        if length is not None and int(length) > limit:
            raise TooLargeError(
                f"the body has {length} bytes; the limit is {limit}: send fewer points at a time"
            )
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                if length is not None:
                    return await http()
                body = bytearray()
                async for piece in http:
                    body += piece
                    if len(body) > limit:
                        raise TooLargeError(
                            f"the body is over the limit of {limit} bytes: send fewer points at a time"
                        )
                return bytes(body)
        except TimeoutError:
            raise FormatError(f"the body: it did not arrive within {BODY_TIMEOUT_SECONDS:.0f} s") from None

    def _about(self, path: str, http: Http) -> None:
        if path == "/":
            about = {"title": "qdrant - embedded vector engine of Quarry", "version": QDRANT_VERSION}
            http.response_bytes(200, _JSON, encoder.encode(about))
        elif path == "/metrics":
            http.response_bytes(200, _METRICS, self._metrics.text())
        elif path == "/readyz" and self._draining:
            http.response_bytes(503, _TEXT, b"the vector engine is stopping")
        elif path in {"/readyz", "/livez", "/healthz"}:
            http.response_bytes(200, _TEXT, f"{path[1:]} check passed".encode())
        else:
            detail = f"Not found: the embedded vector engine has no {path[:200]}"
            http.response_bytes(404, _JSON, _error(detail, time.perf_counter()))


def _error(detail: str, started: float) -> bytes:
    return encoder.encode({"status": {"error": detail}, "time": time.perf_counter() - started})
