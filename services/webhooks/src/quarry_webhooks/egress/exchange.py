"""What is kept of an attempt: how it ended, and of the response only little, as text that can be shown."""

import re
from collections.abc import Mapping

import aiohttp
import msgspec

from quarry_common.contracts.webhooks import Outcome
from quarry_webhooks.egress.faults import Fault

MAX_BODY_BYTES = 65_536
"""Of a response; after so many the connection is closed."""

MAX_EXCERPT_CHARACTERS = 1_024
MAX_HEADER_CHARACTERS = 500
KEPT_HEADERS = (
    "content-type",
    "content-length",
    "date",
    "location",
    "retry-after",
    "server",
    "webhook-delivery",
    "x-request-id",
)

_EXCERPT_BYTES = MAX_EXCERPT_CHARACTERS * 4
"""No character of UTF-8 has more than four."""
_REPLACED = "\ufffd"
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Exchange(msgspec.Struct, frozen=True):
    """One request to an endpoint and what came of it."""

    outcome: Outcome
    status: int | None
    """Of the response, if there was one."""
    headers: dict[str, str]
    """Those of `KEPT_HEADERS` that the response had, at most 500 characters each; names in small letters."""
    excerpt: str
    """The beginning of the body, at most 1,024 characters; what is no text is replaced by U+FFFD."""
    detail: str
    """Why it failed, or what was wrong with the response, in a sentence that names no resolved address; empty
    when all went well."""
    duration_ms: float


class Answer:
    """What there is of a response so far; it is kept when the rest does not come."""

    def __init__(self) -> None:
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._beginning = bytearray()

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Read the response to its end or its bound; the connection is kept only if it has ended.

        Raises what `aiohttp` does when it breaks off.
        """
        self._status, self._headers = response.status, kept_headers(response.headers)
        size = 0
        try:
            while size <= MAX_BODY_BYTES and (piece := await response.content.read(MAX_BODY_BYTES)):
                if len(self._beginning) < _EXCERPT_BYTES:
                    self._beginning += piece[:_EXCERPT_BYTES]
                size += len(piece)
        finally:
            if not response.content.at_eof():
                response.close()

    def exchange(self, fault: Fault | None, duration_ms: float) -> Exchange:
        """Return the whole, once there is a status or a fault, or both."""
        status, detail = self._status, ""
        if status is None:
            fault = fault or Fault(Outcome.CONNECTION_FAILED, "There was no response.")
            outcome, detail = fault.outcome, fault.detail
        elif 200 <= status < 300:
            outcome, detail = Outcome.DELIVERED, "The response broke off after its headers." if fault else ""
        else:
            outcome, detail = Outcome.REFUSED, _refusal(status)
        return Exchange(outcome, status, self._headers, excerpt(bytes(self._beginning)), detail, duration_ms)


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"The receiver answered {status}; redirects are not followed."
    if status == 410:
        return "The receiver answered 410: it wants nothing any more."
    return f"The receiver answered {status}; only 2xx counts as received."


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as text that any store and page can hold."""
    text = body[:_EXCERPT_BYTES].decode(errors="replace")[:MAX_EXCERPT_CHARACTERS]
    return _NOT_TEXT.sub(_REPLACED, text)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the few headers of a response that tell something, bounded."""
    return {
        name: _NOT_IN_A_LINE.sub(_REPLACED, value[:MAX_HEADER_CHARACTERS])
        for name in KEPT_HEADERS
        if (value := headers.get(name)) is not None
    }
