"""The caches of the platform."""

from typing import Final

from quarry_client import types
from quarry_client.calls.call import Call, get, params_of

PURGE_SECONDS: Final = 35.0
"""To go through a large Redis."""


def cache_stats() -> Call[types.CacheReport]:
    """Read how the caches of every process do; asks for the operator's key."""
    return get("/api/admin/cache", types.CacheReport)


def purge_cache(tenant: str | None = None) -> Call[types.CachePurge]:
    """Forget what is cached for the tenant, or, with an operator's key, for `tenant`, or else for all."""
    return Call(
        "DELETE",
        "/api/admin/cache",
        types.CachePurge,
        params_of(tenant=tenant),
        repeatable=True,
        extra_seconds=PURGE_SECONDS,
    )
