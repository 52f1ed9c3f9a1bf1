"""The tables of the service on a real Postgres."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from quarry_analytics.service import definition
from quarry_analytics.settings import AnalyticsSettings
from quarry_common.messaging import outbox
from quarry_common.postgres import idempotency
from quarry_common.postgres.migrations import migrate, read
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.settings import load
from quarry_local.servers.postgres import with_login
from quarry_local.testing import create_database

PASSWORD = "of-the-test"


@pytest.fixture(scope="session")
async def analytics_admin_dsn(postgres_admin_dsn: str) -> str:
    """The database of the service; the DSN is the owner's."""
    dsn = create_database(postgres_admin_dsn, "analytics")
    admin = await asyncpg.connect(dsn)
    try:
        assert definition.migrations is not None
        steps = read([outbox.MIGRATIONS, idempotency.MIGRATIONS, definition.migrations], "analytics")
        await migrate(admin, "analytics", steps, PASSWORD)
    finally:
        await admin.close()
    return dsn


@pytest.fixture(scope="session")
def settings(analytics_admin_dsn: str, nats_url: str) -> AnalyticsSettings:
    own = with_login(analytics_admin_dsn, "quarry_analytics", PASSWORD)
    return load(AnalyticsSettings, {"DATABASE_URL": own, "NATS_URL": nats_url})


@pytest.fixture(scope="session")
async def database(settings: AnalyticsSettings) -> AsyncIterator[Database]:
    """Connections of the service's own role."""
    async with connect_pool(settings, "analytics") as connected:
        yield connected
