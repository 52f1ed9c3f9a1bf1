"""Takes the tenant out of one store's adapter, in the processes of a platform that a test starts on purpose.

Python imports a module of this name at its start when its folder is on PYTHONPATH. Which hole is opened
stands in QUARRY_TEST_HOLE: `vectors`, `cache` or `blobs`. (That of Postgres is opened in the database
itself.)
"""

import os
import sys


def vectors() -> None:
    """Ask the index without the condition that names the tenant."""
    from quarry_common.vectors import filters  # noqa: PLC0415 - only in the processes of services

    filters.tenant = lambda _: []  # type: ignore[assignment]


def cache() -> None:
    """Keep answers in one place for all tenants, for as long as nothing changes anywhere."""
    from uuid import UUID  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from quarry_common.cache.keys import Generation  # noqa: PLC0415
    from quarry_common.cache.typed import TypedCache  # noqa: PLC0415
    from quarry_search import caching  # noqa: PLC0415

    nobody, same = UUID(int=0), Generation("-", "-")
    key, get = caching.CachedAnswers._key, TypedCache.get_or_compute
    caching.CachedAnswers._key = lambda self, query, _: key(  # type: ignore[method-assign]
        self, msgspec.structs.replace(query, tenant_id=nobody), ""
    )
    TypedCache.get_or_compute = lambda self, _, *given, generation: get(  # type: ignore[method-assign]
        self, nobody, *given, generation=generation and same
    )


def blobs() -> None:
    """Let every path of the blob store be reached by everybody."""
    from quarry_common.blobs import BlobStore  # noqa: PLC0415

    BlobStore.require = lambda _, path: path  # type: ignore[method-assign]


HOLES = {"vectors": vectors, "cache": cache, "blobs": blobs}

if "run" in sys.orig_argv and (opened := HOLES.get(os.environ.get("QUARRY_TEST_HOLE", ""))):
    opened()
