"""The analytics service put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files

from quarry_analytics.expiring import Expiring
from quarry_analytics.handlers import SERVICE
from quarry_analytics.handlers.export import ExportHandler
from quarry_analytics.handlers.figures import FigureHandlers
from quarry_analytics.handlers.purges import PurgeHandler
from quarry_analytics.handlers.retention import RetentionHandlers
from quarry_analytics.handlers.sets import SetHandlers
from quarry_analytics.handlers.users import UserHandlers
from quarry_analytics.recording import Recording
from quarry_analytics.refreshing import Refreshing
from quarry_analytics.settings import AnalyticsSettings
from quarry_common.contracts import analytics
from quarry_common.contracts.streams import ANALYTICS_SEARCHES
from quarry_common.messaging import broker
from quarry_common.messaging.batches import BatchConsumer
from quarry_common.messaging.rpc import RpcClient, RpcServer
from quarry_common.messaging.watchdog import consumers_exist
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.postgres.sessions import SilentSessions
from quarry_common.service import Service, ServiceDefinition


@asynccontextmanager
async def build(settings: AnalyticsSettings) -> AsyncIterator[Service]:
    """Connect and yield the service."""
    async with connect_pool(settings, SERVICE) as database, broker.connect(settings, SERVICE) as bus:
        recording = Recording(
            database,
            keep_days=settings.analytics_retention_days,
            low_confidence=settings.analytics_low_confidence_similarity,
        )
        server = RpcServer(bus, SERVICE)
        _answer(server, database, RpcClient(bus), settings)
        yield Service(
            parts=[
                server,
                BatchConsumer(bus, ANALYTICS_SEARCHES, recording.take),
                Refreshing(database, settings.analytics_aggregate_interval_seconds),
                Expiring(database, settings.analytics_retention_days),
                SilentSessions(database),
            ],
            checks={
                "database": database.check,
                "message_bus": partial(broker.check, bus),
                "consumers": consumers_exist(bus, [ANALYTICS_SEARCHES]),
            },
        )


def _answer(server: RpcServer, database: Database, rpc: RpcClient, settings: AnalyticsSettings) -> None:
    figures = FigureHandlers(database)
    server.answer(analytics.POPULAR, figures.popular)
    server.answer(analytics.NO_RESULTS, figures.no_results)
    server.answer(analytics.LOW_CONFIDENCE, figures.low_confidence)
    server.answer(analytics.STATS, figures.stats)
    server.answer(analytics.TIMESERIES, figures.timeseries)
    server.answer(analytics.TRENDING, figures.trending)
    users = UserHandlers(database)
    server.answer(analytics.USER, users.get)
    server.answer(analytics.FORGET_USER, users.forget)
    server.answer(analytics.EXPORT, ExportHandler(database).page)
    retention = RetentionHandlers(database, settings.analytics_retention_days)
    server.answer(analytics.GET_RETENTION, retention.get)
    server.answer(analytics.SET_RETENTION, retention.set)
    sets = SetHandlers(database, rpc)
    server.answer(analytics.SAVE_SET, sets.save)
    server.answer(analytics.ADD_LOGGED, sets.add_logged)
    server.answer(analytics.GET_SET, sets.get)
    server.answer(analytics.LIST_SETS, sets.list)
    server.answer(analytics.DELETE_SET, sets.delete)
    server.answer(analytics.RUN_SET, sets.run)
    server.answer(analytics.LIST_RUNS, sets.runs)
    server.answer(analytics.PURGE_ANALYTICS, PurgeHandler(database).purge)


definition = ServiceDefinition(
    name=SERVICE,
    settings=AnalyticsSettings,
    build=build,
    migrations=files("quarry_analytics") / "migrations",
)
