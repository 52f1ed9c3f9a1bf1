"""The service at work: it takes what the search log tells, forgets users and old days, and is purged."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from uuid import UUID

import msgspec
import pytest
from nats.aio.client import Client
from services.analytics.tests.searched import LOW_CONFIDENCE, World, delivery, event, world

from quarry_analytics.domain.ranking import RankedBy
from quarry_analytics.domain.users import digest_of
from quarry_analytics.expiring import Expiring
from quarry_analytics.handlers.figures import FigureHandlers
from quarry_analytics.handlers.purges import PurgeHandler
from quarry_analytics.handlers.retention import RetentionHandlers
from quarry_analytics.handlers.users import UserHandlers
from quarry_analytics.recording import Recording
from quarry_analytics.refreshing import Refreshing
from quarry_analytics.repository import ranking, reading
from quarry_analytics.service import build
from quarry_analytics.settings import AnalyticsSettings
from quarry_common.contracts import subjects
from quarry_common.contracts.analytics import (
    STATS,
    ForgetUser,
    Retention,
    Selection,
    StatsReply,
    UserOf,
)
from quarry_common.contracts.events.searches import SearchesUnrecorded
from quarry_common.contracts.purging import PurgeTenant
from quarry_common.contracts.streams import ANALYTICS_SEARCHES, DEAD_LETTERS, SEARCHES
from quarry_common.errors import NotFoundError, UnavailableError, ValidationError
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.consumer import PermanentError
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres.pool import Database

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def recording(database: Database) -> Recording:
    return Recording(database, keep_days=90, low_confidence=LOW_CONFIDENCE)


@pytest.fixture
def refreshing(database: Database) -> Refreshing:
    return Refreshing(database, 1.0)


def lately(tenant: UUID, days: float = 2.0) -> Selection:
    return Selection(tenant_id=tenant, start=NOW - timedelta(days=days), end=NOW + timedelta(hours=1))


@pytest.fixture
async def bus(settings: AnalyticsSettings) -> AsyncIterator[Client]:
    async with broker.connect(settings, "test") as client:
        await provision(client.jetstream(), [SEARCHES, DEAD_LETTERS], [ANALYTICS_SEARCHES], replicas=1)
        yield client


async def test_what_the_log_tells_is_answered_soon_after(settings: AnalyticsSettings, bus: Client) -> None:
    tenant, stopping = new_id(), asyncio.Event()
    made = world(2, [tenant], NOW - timedelta(hours=1), 0.03, 100)
    often = settings.model_copy(update={"analytics_aggregate_interval_seconds": 0.2})
    async with build(often) as service:
        parts = [asyncio.create_task(part.run(stopping)) for part in service.parts]
        stream = bus.jetstream()
        await stream.publish(subjects.search_log(tenant), b"no event at all")
        for message in made.messages():
            await stream.publish(message.subject, message.body)
        wanted = len({search.query_id for _, search in made.searches if not search.continued})

        async def counted() -> int:
            try:
                found: StatsReply = await RpcClient(bus).call(STATS, lately(tenant))
            except UnavailableError:
                return -1
            return found.figures.total_searches + found.collapsed

        async with asyncio.timeout(20):
            while await counted() != wanted:
                await asyncio.sleep(0.05)
        for check in service.checks.values():
            await check()
        stopping.set()
        await asyncio.gather(*parts)
    letters = await stream.stream_info(DEAD_LETTERS.name)
    assert letters.state.messages == 1


async def test_searches_that_were_not_recorded_are_told_once(
    recording: Recording, database: Database
) -> None:
    tenant = new_id()
    told = event(tenant, SearchesUnrecorded(searches=7, instance="search-1"), new_id())
    for _ in range(2):
        await recording.take([delivery([told])])

    assert (await FigureHandlers(database).stats(lately(tenant))).dropped == 7


async def test_what_is_older_than_what_is_kept_or_of_the_future_is_left_out(
    recording: Recording, refreshing: Refreshing, database: Database
) -> None:
    tenant, made = new_id(), World(random.Random(3))
    for moment in (NOW - timedelta(days=91), NOW, NOW + timedelta(days=2)):
        made.search(tenant, moment, "lease", continued=False)
    await recording.take([delivery([event(tenant, search) for _, search in made.searches])])
    await refreshing.refresh()

    found = await FigureHandlers(database).stats(
        Selection(tenant_id=tenant, start=NOW - timedelta(days=100), end=NOW + timedelta(days=3))
    )

    assert found.figures.total_searches == 1


async def test_a_forgotten_user_is_in_no_figure_and_what_comes_late_is_not_taken(
    recording: Recording, refreshing: Refreshing, database: Database
) -> None:
    tenant, made = new_id(), World(random.Random(4))
    for user in ("anna", "ben", "anna"):
        search = made.search(
            tenant, NOW - timedelta(minutes=5), f"lease of {user}", user_id=user, continued=False
        )
        made.click(tenant, search, search.results[0] if search.results else None)
    late = made.search(tenant, NOW - timedelta(minutes=2), "late", user_id="anna", continued=False)
    messages = [
        delivery([event(tenant, data) for _, data in told])
        for told in (made.searches[:-1], made.interactions)
    ]
    await recording.take(messages)
    await refreshing.refresh()
    users = UserHandlers(database)

    forgotten = await users.forget(ForgetUser(tenant, "anna"))
    await recording.take([delivery([event(tenant, late)])])
    await refreshing.refresh()

    assert (forgotten.searches, forgotten.interactions) == (2, 2)
    found = await FigureHandlers(database).stats(lately(tenant))
    assert (found.figures.total_searches, found.figures.unique_users) == (1, 1)
    with pytest.raises(NotFoundError):
        await users.get(UserOf(selection=lately(tenant), user_id="anna"))
    async with database.tenant_transaction(tenant) as connection:
        kept = await connection.fetchval("SELECT user_digest FROM forgotten_users")
    assert kept == digest_of("anna")


async def test_of_the_days_only_those_that_are_asked_for_are_planned(
    recording: Recording, database: Database
) -> None:
    tenant = new_id()
    made = world(8, [tenant], NOW - timedelta(days=5), 5.0, 20)
    await recording.take(made.messages())
    day = datetime.combine((NOW - timedelta(days=2)).date(), clock(), UTC)

    async with database.tenant_transaction(tenant) as connection:
        statement = reading._rows(reading.Chosen(tenant))
        bounds = (day, day + timedelta(days=1))
        plan = await connection.fetch(f"EXPLAIN {statement}", tenant, None, None, *bounds, None, None)

    named = set(re.findall(r"(?:searches|interactions)_(\d{8})", "".join(row[0] for row in plan)))
    assert named == {f"{day:%Y%m%d}"}


async def test_queries_are_ranked_from_the_index_of_a_tenants_searches_alone(
    recording: Recording, database: Database
) -> None:
    tenant = new_id()
    await recording.take(world(8, [tenant], NOW - timedelta(days=2), 1.0, 20).messages())

    async with database.tenant_transaction(tenant) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        statement = ranking._ranked(reading.Chosen(tenant), ranking._COUNTED[RankedBy.NO_RESULTS])
        bounds = (NOW - timedelta(days=2), NOW - timedelta(days=1))
        plan = await connection.fetch(f"EXPLAIN {statement}", tenant, None, None, *bounds, None)

    scans = [row[0].strip() for row in plan if " on searches" in row[0]]
    assert scans
    assert all("Index Only Scan" in scan for scan in scans)


async def test_days_go_as_a_whole_and_tenants_may_keep_less(
    recording: Recording, refreshing: Refreshing, database: Database
) -> None:
    usual, brief, made = new_id(), new_id(), World(random.Random(5))
    for tenant in (usual, brief):
        for days in (80, 20, 1):
            made.search(tenant, NOW - timedelta(days=days), "lease", continued=False)
    await recording.take([delivery([event(tenant, search)]) for tenant, search in made.searches])
    await refreshing.refresh()
    retention = RetentionHandlers(database, 90)
    await retention.set(Retention(brief, 10))
    with pytest.raises(ValidationError):
        await retention.set(Retention(brief, 91))

    await Expiring(database, 30).expire(NOW.date())

    async def kept(tenant: UUID) -> int:
        figures = (await FigureHandlers(database).stats(lately(tenant, 100))).figures
        async with database.tenant_transaction(tenant) as connection:
            rows: int = await connection.fetchval("SELECT count(*) FROM searches")
        assert rows == figures.total_searches
        return rows

    assert await kept(usual) == 2
    assert await kept(brief) == 1
    async with database.worker_transaction() as worker:
        days = [row["days"] for row in await worker.fetch("SELECT days()")]
    assert min(days) >= NOW.date() - timedelta(days=30)


async def test_a_purge_leaves_nothing_of_a_tenant_and_all_of_others(
    recording: Recording, refreshing: Refreshing, database: Database
) -> None:
    purged, other = new_id(), new_id()
    made = world(6, [purged, other], NOW - timedelta(hours=5), 0.2, 60)
    await recording.take(made.messages())
    await refreshing.refresh()
    before = await FigureHandlers(database).stats(lately(other))

    done = await PurgeHandler(database).purge(PurgeTenant(purged, 10))

    assert done.removed["postgres.analytics.searches"] == len(
        {search.query_id for tenant, search in made.searches if tenant == purged}
    )
    assert set(done.left.values()) == {0}
    assert await FigureHandlers(database).stats(lately(other)) == before


async def test_the_service_can_neither_read_partitions_nor_make_other_tables(database: Database) -> None:
    async with database.worker_transaction() as worker:
        await worker.execute("SELECT add_day($1)", NOW.date())
        allowed = await worker.fetchval(
            "SELECT has_table_privilege($1, 'SELECT, INSERT, UPDATE, DELETE')",
            f"analytics.searches_{NOW.date():%Y%m%d}",
        )
    assert not allowed


async def test_of_messages_of_which_one_cannot_be_read_nothing_is_written(
    recording: Recording, database: Database
) -> None:
    tenant = new_id()
    good = delivery([event(tenant, SearchesUnrecorded(searches=1, instance="x"), new_id())])

    with pytest.raises(PermanentError, match="cannot be read"):
        await recording.take([good, msgspec.structs.replace(good, body=b"[{}]")])

    assert (await FigureHandlers(database).stats(lately(tenant))).dropped == 0
