"""Cross-origin requests (WHATWG Fetch, CORS protocol): off, but for the web pages that a tenant lists.

A preflight carries no key, so it is answered for pages that any tenant lists; the answer to the request
itself can be read by a page only if the tenant whose key it carries lists it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from quarry_common.contracts.domains import RESOLVE_ORIGIN, KnownOrigin, ResolveOrigin
from quarry_common.errors import NotFoundError, QuarryError, RemoteError
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway.access.resolver import Resolver

ANY: Final = "*"
BELIEVED_SECONDS: Final = 30.0
PREFLIGHT_SECONDS: Final = 5.0
MAX_ORIGINS: Final = 1_000
MAX_AGE_SECONDS: Final = 600
"""For which a browser need not ask again."""
ALLOWED_HEADERS: Final = (
    "authorization, content-type, if-match, if-none-match, idempotency-key, last-event-id, x-api-key"
)
EXPOSED_HEADERS: Final = "etag, location, ratelimit, ratelimit-policy, retry-after, x-request-id"

RawHeaders = list[tuple[bytes, bytes]]

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?")


class Origins:
    """Knows which web pages any tenant lists; believed for half a minute."""

    def __init__(self, rpc: RpcClient) -> None:
        async def ask(origin: str) -> KnownOrigin:
            known = await rpc.call(RESOLVE_ORIGIN, ResolveOrigin(origin), timeout_seconds=PREFLIGHT_SECONDS)
            if not known.known:  # which is remembered apart, so that invented ones push out no real one
                raise RemoteError(NotFoundError("No tenant lists this origin.").data)
            return known

        self._known: Resolver[str, KnownOrigin] = Resolver(
            "origins", ask, ttl_seconds=BELIEVED_SECONDS, max_entries=MAX_ORIGINS
        )

    async def listed(self, origin: str) -> bool:
        """Whether some tenant lists `origin`; no while nobody can say."""
        if not _ORIGIN.fullmatch(origin):
            return False
        try:
            return (await self._known.resolve(origin)).known
        except QuarryError:
            return False

    def forget(self) -> None:
        """Forget everything: a tenant has changed its list."""
        self._known.forget(lambda _: True)


def preflight_headers(origin: str, methods: Iterable[str]) -> dict[str, str]:
    """Return what lets a page of `origin` send the request that it asks about."""
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": ", ".join(methods),
        "access-control-allow-headers": ALLOWED_HEADERS,
        "access-control-max-age": str(MAX_AGE_SECONDS),
        "vary": "origin",
    }


def readable_headers(origin: str, allowed: Sequence[str]) -> RawHeaders:
    """Return what lets a page of `origin` read an answer; nothing when the tenant does not list it."""
    if origin not in allowed and ANY not in allowed:
        return []
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"vary", b"origin"),
    ]
