"""Every figure equals that of a model which counts searches one by one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from services.analytics.tests.searched import LOW_CONFIDENCE, Model, World, local_days, world

from quarry_analytics.handlers.export import ExportHandler
from quarry_analytics.handlers.figures import FigureHandlers
from quarry_analytics.handlers.users import UserHandlers
from quarry_analytics.recording import Recording
from quarry_analytics.refreshing import Refreshing
from quarry_common.contracts.analytics import (
    ExportOf,
    ExportRow,
    Figures,
    QueryFigures,
    Ranked,
    Selection,
    TimeseriesOf,
    UserOf,
)
from quarry_common.contracts.events.searches import Searched
from quarry_common.contracts.search import SearchMode
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database

TENANT, OTHER = new_id(), new_id()
START = datetime(2026, 10, 20, 7, 30, tzinfo=UTC)
"""Five days before the clocks of Europe go back."""
DAYS = 9.0


@pytest.fixture(scope="module")
def made() -> World:
    return world(1, [TENANT, OTHER], START, DAYS, 1_000)


@pytest.fixture(scope="module")
def model(made: World) -> Model:
    return Model(made)


@pytest.fixture(scope="module")
async def figures(database: Database, made: World) -> FigureHandlers:
    """Answers about the world, which was told of in pieces, with refreshes between them."""
    recording = Recording(database, keep_days=300, low_confidence=LOW_CONFIDENCE)
    refreshing = Refreshing(database, 1.0)
    messages = made.messages()
    half = len(messages) // 2
    for part in (messages[:half], messages[half - 5 :]):
        for number in range(0, len(part), 7):
            await recording.take(part[number : number + 7])
        await refreshing.refresh()
    return FigureHandlers(database)


WHOLE = Selection(tenant_id=TENANT, start=START, end=START + timedelta(days=DAYS))
SELECTIONS = {
    "everything": WHOLE,
    "all tenants": msgspec.structs.replace(WHOLE, tenant_id=None),
    "another tenant": msgspec.structs.replace(WHOLE, tenant_id=OTHER),
    "a collection": msgspec.structs.replace(WHOLE, collection="handbook"),
    "a mode": msgspec.structs.replace(WHOLE, mode=SearchMode.KEYWORD),
    "cut anywhere": msgspec.structs.replace(
        WHOLE,
        start=START + timedelta(hours=5, minutes=7, seconds=3),
        end=START + timedelta(days=3, minutes=1),
    ),
    "less than a quarter": msgspec.structs.replace(
        WHOLE, start=START + timedelta(minutes=1), end=START + timedelta(minutes=9)
    ),
    "nothing": msgspec.structs.replace(WHOLE, start=START - timedelta(days=2), end=START),
}
each_selection = pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)


def same_figures(found: Figures | QueryFigures, searches: Sequence[Searched], model: Model) -> None:
    """Assert that figures are those of searches; percentiles within what the sketch promises."""
    exact: Figures | QueryFigures = (
        model.figures(searches) if isinstance(found, Figures) else model.query_figures(searches)
    )
    durations = sorted(each.duration_ms for each in searches)
    for name, rank in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        value = getattr(found, f"{name}_execution_time_ms")
        if not durations:
            assert value is None
            continue
        off = 0.01 * len(durations) + 1
        at = rank * len(durations)
        low, high = max(int(at - off) - 1, 0), min(int(at + off), len(durations) - 1)
        assert durations[low] * 0.9999 <= value <= durations[high] * 1.0001, (name, value)
    assert msgspec.to_builtins(_rounded(found)) == msgspec.to_builtins(_rounded(exact))


def _rounded(found: Figures | QueryFigures) -> dict[str, object]:
    told = msgspec.to_builtins(found)
    for name in ("p50", "p95", "p99"):
        del told[f"{name}_execution_time_ms"]
    return _round(told)  # type: ignore[return-value]


def _round(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _round(each) for name, each in value.items()}
    return value


@each_selection
async def test_stats(figures: FigureHandlers, model: Model, selection: Selection) -> None:
    found = await figures.stats(selection)

    same_figures(found.figures, model.within(selection), model)
    assert found.collapsed == len(model.within(selection, collapsed=True))


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("selection", [WHOLE, SELECTIONS["cut anywhere"], SELECTIONS["a mode"]], ids=str)
async def test_days_of_a_time_zone(
    figures: FigureHandlers, model: Model, selection: Selection, tz: str
) -> None:
    found = await figures.timeseries(TimeseriesOf(selection=selection, interval_hours=24, tz=tz))

    days = local_days(selection.start, selection.end, ZoneInfo(tz))
    assert [(bucket.start, bucket.end) for bucket in found.buckets] == days
    for bucket in found.buckets:
        part = msgspec.structs.replace(
            selection, start=max(bucket.start, selection.start), end=min(bucket.end, selection.end)
        )
        same_figures(bucket.figures, model.within(part), model)
        assert bucket.partial == (bucket.start < selection.start or bucket.end > selection.end)


@pytest.mark.parametrize("interval_hours", [1, 6, 48])
async def test_intervals(figures: FigureHandlers, model: Model, interval_hours: int) -> None:
    asked = TimeseriesOf(selection=WHOLE, interval_hours=interval_hours, tz="Europe/Berlin")

    found = await figures.timeseries(asked)

    total = 0
    for bucket in found.buckets:
        part = msgspec.structs.replace(
            WHOLE, start=max(bucket.start, WHOLE.start), end=min(bucket.end, WHOLE.end)
        )
        same_figures(bucket.figures, model.within(part), model)
        total += bucket.figures.total_searches
    assert total == len(model.within(WHOLE))


@each_selection
@pytest.mark.parametrize("limit", [1, 10, 100])
async def test_popular(figures: FigureHandlers, model: Model, selection: Selection, limit: int) -> None:
    found = (await figures.popular(Ranked(selection, limit))).queries

    expected = [model.query_figures(searches) for searches in model.queries(selection).values()]
    expected.sort(key=lambda each: (each.count, each.last_seen), reverse=True)
    assert [each.query for each in found] == [each.query for each in expected[:limit]]
    by_query = {
        model.query_figures(searches).query: searches for searches in model.queries(selection).values()
    }
    for each in found:
        same_figures(each, by_query[each.query], model)


@each_selection
@pytest.mark.parametrize("by", ["no_results", "low_confidence"])
async def test_where_search_fails(
    figures: FigureHandlers, model: Model, selection: Selection, by: str
) -> None:
    found = (await getattr(figures, by)(Ranked(selection, 10))).queries

    expected = [model.query_figures(searches) for searches in model.queries(selection).values()]
    expected = [each for each in expected if getattr(each, by)]
    # Of queries that fail equally often those come first of which a failure was seen last.
    assert [getattr(each, by) for each in found] == sorted(
        (getattr(each, by) for each in expected), reverse=True
    )[:10]
    assert {each.query for each in found} <= {each.query for each in expected}


async def test_a_user(figures: FigureHandlers, database: Database, model: Model) -> None:
    for user in ("user-1", "user-24"):
        searches = [each for each in model.within(WHOLE) if each.user_id == user]

        found = await UserHandlers(database).get(UserOf(selection=WHOLE, user_id=user, limit=1_000))

        same_figures(found.figures, searches, model)
        assert sum(each.count for each in found.queries) == len(searches)
        assert (found.first_seen, found.last_seen) == (
            min(each.occurred_at for each in searches), max(each.occurred_at for each in searches),
        )  # fmt: skip


async def test_an_export_has_every_search_once(
    figures: FigureHandlers, database: Database, model: Model
) -> None:
    rows: list[ExportRow] = []
    asked = ExportOf(selection=WHOLE, limit=100)
    while True:
        page = await ExportHandler(database).page(asked)
        rows += page.rows
        if page.next_cursor is None:
            break
        asked = msgspec.structs.replace(asked, cursor=page.next_cursor)

    searches = {
        search.query_id: search
        for tenant, search in model.searches
        if tenant == TENANT and WHOLE.start <= search.occurred_at < WHOLE.end
    }
    assert [row.query_id for row in rows] == [
        each.query_id
        for each in sorted(searches.values(), key=lambda each: (each.occurred_at, each.query_id))
    ]
    for row in rows:
        search = searches[row.query_id]
        assert (row.query, row.results, row.user_id) == (search.query, search.total, search.user_id)
        assert row.clicks == len(model.clicks[row.query_id])
        assert row.collapsed == (row.query_id in model.collapsed or search.continued)
