"""A platform of its own, whose isolation can be taken away piece by piece while it runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from tests.platform import Platform, running_platform

from quarry_common.cache import cache
from quarry_common.cache.keys import EntryKey, Generation, entry_key

HOLES = Path(__file__).parent / "holes"
_GUARDED = """
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relrowsecurity AND EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
"""


def _without_tenant(prefix: str, tenant: UUID, name: str, key: str, generation: Generation) -> EntryKey:
    return entry_key(prefix, UUID(int=0), name, key, generation)


@pytest.fixture(scope="session")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that says which piece is missing."""
    return tmp_path_factory.mktemp("isolation") / "hole"


@pytest.fixture(scope="module")  # it ends before other tests begin
def platform(switch: Path) -> Iterator[Platform]:
    """Yield a platform in each of whose services `holes/sitecustomize.py` is."""
    with running_platform({"PYTHONPATH": str(HOLES), "QUARRY_HOLE": str(switch)}) as running:
        yield running


@asynccontextmanager
async def without(store: str, platform: Platform, switch: Path) -> AsyncIterator[None]:
    """Take away what keeps tenants apart in `store`; afterwards it is there again.

    "keys" are those of the caches that this process opens; the others are taken from all services.
    """
    if store == "rows":
        async with without_row_level_security(platform):
            yield
        return
    if store == "keys":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache, "entry_key", _without_tenant)
            yield
        return
    switch.write_text(store)
    try:
        yield
    finally:
        switch.unlink()


@asynccontextmanager
async def without_row_level_security(platform: Platform) -> AsyncIterator[None]:
    """Let every service see the rows of all tenants."""
    async with platform.database() as database:
        await database.execute("SET lock_timeout = '10s'")
        tables = [row[0] for row in await database.fetch(_GUARDED)]
        assert len(tables) > 10
        try:
            for table in tables:
                await database.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
            yield
        finally:
            for table in tables:
                await database.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
