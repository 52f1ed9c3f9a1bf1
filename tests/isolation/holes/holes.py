"""Takes away what keeps tenants apart in a store, while the file that `QUARRY_HOLE` names says so.

It is read at every call, so that no process has to be started again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from quarry_common.blobs import TenantBlobs
from quarry_common.cache import cache
from quarry_common.cache.generations import Generations
from quarry_common.cache.keys import UNCHANGING
from quarry_common.vectors import filters
from quarry_search.caching import CachedAnswers

SWITCH = Path(os.environ["QUARRY_HOLE"])
NOBODY = UUID(int=0)


def while_open(hole: str, owner: Any, name: str, instead: Callable[..., Any]) -> None:
    """While `hole` is open, have `instead` called with the function that it stands for and its arguments."""
    kept = getattr(owner, name)

    def call(*given: Any) -> Any:
        is_open = SWITCH.exists() and SWITCH.read_text() == hole
        return instead(kept, *given) if is_open else kept(*given)

    setattr(owner, name, call)


# No request to the index names a tenant. What was remembered was made with one.
while_open("vectors", filters, "tenant", lambda _, tenant_id: [])
for remembering in ("_plain_visible", "_plain_corpus"):
    setattr(filters, remembering, getattr(filters, remembering).__wrapped__)

# Answers are kept apart three times: by the key's tenant, by the tenant's generation, which nobody can guess,
# and by the question, which names the tenant. Only without all three is there a hole.
while_open("cache", cache, "entry_key", lambda kept, prefix, tenant, *rest: kept(prefix, NOBODY, *rest))
while_open("cache", Generations, "generation", lambda kept, *given: kept(*given) and UNCHANGING)
while_open(
    "cache",
    CachedAnswers,
    "_key",
    lambda kept, own, query, tuning: kept(own, msgspec.structs.replace(query, tenant_id=NOBODY), tuning),
)

# A tenant's view of the blobs refuses no path.
while_open("blobs", TenantBlobs, "require", lambda _, own, path: None)
