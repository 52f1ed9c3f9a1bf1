"""A platform of its own, whose isolation can be taken away piece by piece while it runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.platform import Platform, running_platform

HOLES = Path(__file__).parent / "holes"
_GUARDED = """
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
"""


@pytest.fixture(scope="session")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that says which piece is missing."""
    return tmp_path_factory.mktemp("isolation") / "hole"


@pytest.fixture(scope="session")
def platform(switch: Path) -> Iterator[Platform]:
    """Yield a platform in each of whose services `holes/sitecustomize.py` is."""
    with running_platform({"PYTHONPATH": str(HOLES), "QUARRY_HOLE": str(switch)}) as running:
        yield running


@asynccontextmanager
async def without(store: str, platform: Platform, switch: Path) -> AsyncIterator[None]:
    """Take away what keeps tenants apart in `store`; afterwards it is there again."""
    if store == "rows":
        async with without_row_level_security(platform):
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
