"""The outermost layer: whatever happens inside, a request gets an id, a span, its metrics and an answer."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from opentelemetry.trace import Status, StatusCode
from prometheus_client import Counter, Gauge, Histogram

from quarry_common.errors import ErrorData, MalformedError, QuarryError, UnavailableError
from quarry_common.ids import new_id
from quarry_common.telemetry import tracing
from quarry_common.telemetry.logging import bound
from quarry_common.telemetry.metrics import BUCKETS_SECONDS
from quarry_gateway.http import problems

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

REQUESTS = Counter("http_requests_total", "Requests answered.", ("method", "route", "status"))
SECONDS = Histogram(
    "http_request_duration_seconds", "Time to answer a request.", ("method", "route"), buckets=BUCKETS_SECONDS
)
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests that are being answered.")

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED: Final = "unmatched"
ALWAYS_ANSWERED: Final = frozenset({"/livez", "/readyz", "/metrics", "/api/health"})
"""What tells operators of an overload is not refused for it."""
CLIENT_GONE: Final = 499
ANSWER_HEADERS: Final = "quarry.answer_headers"
"""Where a request's scope holds headers that its answer gets, whatever that is."""
RELEASE_SLOT: Final = "quarry.release_slot"
"""Where a request's scope holds what an answer without end calls once it has begun: from then on it is no
request in flight, and what it took till then is the time to answer."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_SANE_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# As the OWASP REST security cheat sheet has them. A page that sends one itself keeps its own.
_SENT_UNLESS_GIVEN = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"server", b"quarry"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Edge:
    """An ASGI application around another."""

    def __init__(
        self,
        app: App,
        *,
        max_concurrent_requests: int,
        hsts_seconds: int = 0,
        answered: Callable[[Message, int], None] = lambda _scope, _status: None,
    ) -> None:
        """`answered` is told of every answer: the request's scope, and the status."""
        self._app = app
        self._answered = answered
        hsts = (b"strict-transport-security", b"max-age=%d" % hsts_seconds)
        self._headers = [*_SENT_UNLESS_GIVEN, *([hsts] if hsts_seconds else [])]
        self._max_concurrent_requests = max_concurrent_requests
        self._in_flight = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request_id, trace_headers = _carried(scope["headers"])
        scope["request_id"] = request_id
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        answer = _Answer(send, scope, self._headers)
        slot = self._take_slot(method, scope)
        scope[RELEASE_SLOT] = slot
        try:
            with (
                bound(request_id=request_id),
                tracing.span(
                    f"HTTP {method}",
                    kind=tracing.SERVER,
                    headers=trace_headers,
                    attributes={"http.request.method": method, "url.path": scope["path"][:500]},
                ) as span,
            ):
                await self._answer(scope, receive, answer)
                route = scope.get("path_template") or UNMATCHED
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", answer.status)
                if answer.status >= 500:
                    span.set_status(Status(StatusCode.ERROR))
        finally:
            slot()
            self._answered(scope, answer.status)
            REQUESTS.labels(method, scope.get("path_template") or UNMATCHED, str(answer.status)).inc()

    def _take_slot(self, method: str, scope: Message) -> Callable[[], None]:
        """Count a request as in flight; return what counts it as answered, the first time it is called."""
        started = time.perf_counter()
        self._in_flight += 1
        IN_FLIGHT.inc()
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._in_flight -= 1
                IN_FLIGHT.dec()
                route = scope.get("path_template") or UNMATCHED
                SECONDS.labels(method, route).observe(time.perf_counter() - started)

        return release

    async def _answer(self, scope: Message, receive: Receive, answer: "_Answer") -> None:
        path = scope["path"]
        if unreadable := _unreadable(scope):
            error = MalformedError(unreadable, advice="Percent-encode the address as UTF-8.")
            await answer.refuse(error.data, path.replace("\0", ""))
        elif self._in_flight > self._max_concurrent_requests and path not in ALWAYS_ANSWERED:
            busy = UnavailableError("Too many requests are being answered.", retry_after_seconds=1)
            await answer.refuse(busy.data, path)
        else:
            try:
                await self._app(scope, receive, answer.send)
            except asyncio.CancelledError:
                answer.status = answer.status or CLIENT_GONE
                raise
            except Exception:
                log.exception("a request failed outside of every route")
                if answer.status:
                    raise  # what was begun must not look whole
                await answer.refuse(QuarryError().data, path)


class _Answer:
    """Sends an answer, with the headers that every answer has: its own, else those in `usual`."""

    def __init__(self, send: Send, scope: Message, usual: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._scope = scope
        self._request_id = scope["request_id"]
        self._usual = usual
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], *self._scope.get(ANSWER_HEADERS, ())]
            given = {name for name, _ in headers}
            headers += [header for header in self._usual if header[0] not in given]
            message["headers"] = [*headers, (b"x-request-id", self._request_id.encode())]
        await self._send(message)

    async def refuse(self, data: ErrorData, instance: str) -> None:
        if self.status:
            return  # too late to say anything else
        body, headers = problems.encode(data, request_id=self._request_id, instance=instance)
        headers["content-length"] = str(len(body))
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": data.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})


def _unreadable(scope: Message) -> str:
    """Return what is wrong with the address that was asked for; empty when nothing is."""
    if "\ufffd" in scope["path"] or "\0" in scope["path"]:
        return "The path is not UTF-8 or holds U+0000."
    if _NO_ESCAPE.search(scope["raw_path"]) or _NO_ESCAPE.search(scope["query_string"]):
        return "The address holds a percent sign that is not followed by two hexadecimal digits."
    return ""


def _carried(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, dict[str, str]]:
    """Return the request's id, the caller's own when it is sane, and its trace headers."""
    request_id = b""
    trace: dict[str, str] = {}
    for name, value in headers:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            request_id = value
        elif name == b"traceparent" and _SANE_TRACE.fullmatch(value):
            trace["traceparent"] = value.decode()
    return request_id.decode() or str(new_id()), trace
