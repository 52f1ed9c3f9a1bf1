"""Imported by each process of a platform whose isolation is taken away piece by piece.

The file that `QUARRY_HOLE` names says which piece is missing just now. Every process reads it at every call, so
nothing is restarted.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

HOLE = Path(os.environ.get("QUARRY_HOLE", "/nowhere"))
NOBODY = UUID(int=0)


def open_hole() -> str:
    try:
        return HOLE.read_text()
    except OSError:
        return ""


def while_open(hole: str, owner: Any, name: str, instead: Callable[..., Any]) -> None:
    """Have `instead` called with the function it stands for, and its arguments, while `hole` is open."""
    kept = getattr(owner, name)

    def call(*given: Any, **named: Any) -> Any:
        return instead(kept, *given, **named) if open_hole() == hole else kept(*given, **named)

    setattr(owner, name, call)


def vectors() -> None:
    """No request to the index names the tenant."""
    from quarry_common.vectors import filters

    while_open("vectors", filters, "tenant", lambda _kept, _tenant: [])
    # What was remembered was made with the tenant.
    for name in ("_plain_visible", "_plain_corpus"):
        setattr(filters, name, getattr(filters, name).__wrapped__)


def cache(service: str) -> None:
    """No key of the cache holds the tenant; nor does what else keeps answers apart: generation and question."""
    from quarry_common.cache import keys

    # Before others import it by name.
    while_open("cache", keys, "entry_key", lambda kept, prefix, _tenant, *rest: kept(prefix, NOBODY, *rest))
    if service != "search":
        return
    import msgspec

    from quarry_common.cache.generations import Generations
    from quarry_search.caching import CachedAnswers

    while_open(
        "cache", Generations, "generation", lambda kept, *given: kept(*given) and keys.Generation("-", "-")
    )
    while_open(
        "cache",
        CachedAnswers,
        "_key",
        lambda kept, own, query, tuning: kept(own, msgspec.structs.replace(query, tenant_id=NOBODY), tuning),
    )


def blobs() -> None:
    """A tenant's view of the blobs refuses no path."""
    from quarry_common.blobs import TenantBlobs

    while_open("blobs", TenantBlobs, "require", lambda _kept, _own, _path: None)


if sys.orig_argv[-2:-1] == ["run"]:
    vectors()
    cache(sys.orig_argv[-1])
    blobs()
