"""Many searches with planted facts: what is popular, what trends, how often is clicked, a day of 25 hours."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec
import pytest
from services.analytics.tests.searched import LOW_CONFIDENCE, NAMESPACE, Model, World, local_days

from quarry_analytics.handlers.figures import FigureHandlers
from quarry_analytics.recording import Recording
from quarry_analytics.refreshing import Refreshing
from quarry_common.contracts.analytics import Figures, Ranked, Selection, TimeseriesOf, TrendingOf
from quarry_common.contracts.search import SearchMode
from quarry_common.ids import new_id
from quarry_common.postgres.pool import Database

BERLIN = ZoneInfo("Europe/Berlin")
END = datetime(2026, 10, 31, 12, tzinfo=UTC)
"""Six days after the clocks went back."""
DAYS = 30
START = END - timedelta(days=DAYS)
TRENDS = ("strike of the trains", "new tax form", "heat pump subsidy")
CLICKED, PLACE = "rent index", 1
"""A query of which every second answer is clicked, on the second place."""
TOGETHER = 500


class Planted:
    """Tenants whose users search by the time of day and week, each with its own popular query."""

    def __init__(self, tenants: int, searches: int) -> None:
        self.rng = rng = random.Random(7)
        self.tenants = [new_id() for _ in range(tenants)]
        self.world = World(rng)
        self.popular = {tenant: f"popular of {number}" for number, tenant in enumerate(self.tenants)}
        self.trending = self.tenants[0]
        words = [f"{first} {second}" for first in "abcdefghij" for second in "klmnopqrst"]
        self._queries = [f"query {word} {number}" for number in range(20) for word in words]
        self._weights = [1 / (rank + 3) for rank in range(len(self._queries))]
        self._hours = [self._weight(hour) for hour in range(DAYS * 24)]
        chosen = rng.choices(range(DAYS * 24), self._hours, k=searches)
        picked = rng.choices(self._queries, self._weights, k=searches)
        for hour, query in zip(chosen, picked, strict=True):
            self._search(rng.choice(self.tenants), hour, query)
        self._plant()

    @staticmethod
    def _weight(hour: int) -> float:
        moment = (START + timedelta(hours=hour)).astimezone(BERLIN)
        day = 1 + math.sin((moment.hour - 9) / 24 * 2 * math.pi)
        return day * (0.3 if moment.weekday() >= 5 else 1.0) + 0.05

    def _search(self, tenant: UUID, hour: int, query: str) -> None:
        rng = self.rng
        moment = START + timedelta(hours=hour, milliseconds=rng.randrange(3_600_000))
        if rng.random() < 0.1:
            query = self.popular[tenant]
        user = f"user-{rng.randrange(400)}"
        search = self.world.search(tenant, moment, query, user_id=user, continued=False)
        if rng.random() < 0.2:
            self.world.click(tenant, search)

    def _plant(self) -> None:
        rng = self.rng
        last_day = range((DAYS - 1) * 24, DAYS * 24)
        for trend in TRENDS:
            for _ in range(120):
                hour = rng.choice(last_day)
                moment = START + timedelta(hours=hour, milliseconds=rng.randrange(3_600_000))
                self.world.search(
                    self.trending, moment, trend, user_id=f"user-{rng.randrange(60)}", continued=False
                )
        results = [uuid5(NAMESPACE, str(number)) for number in range(10)]
        for number in range(200):
            moment = START + timedelta(hours=rng.randrange(DAYS * 24), milliseconds=number)
            search = self.world.search(
                self.trending,
                moment,
                CLICKED,
                results=results,
                total=10,
                continued=False,
                user_id=f"v{number}",
            )
            if number % 2:
                self.world.click(self.trending, search, results[PLACE])


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((4, 20_000), id="short"),
        pytest.param((20, 1_000_000), id="full", marks=[pytest.mark.full, pytest.mark.timeout(3_600)]),
    ],
)
def planted(request: pytest.FixtureRequest) -> Planted:
    return Planted(*request.param)


@pytest.fixture(scope="module")
def model(planted: Planted) -> Model:
    return Model(planted.world)


@pytest.fixture(scope="module")
async def figures(database: Database, planted: Planted) -> FigureHandlers:
    recording = Recording(database, keep_days=300, low_confidence=LOW_CONFIDENCE)
    messages = planted.world.messages(100)
    for number in range(0, len(messages), TOGETHER):
        await recording.take(messages[number : number + TOGETHER])
    await Refreshing(database, 1.0).refresh()
    return FigureHandlers(database)


def whole(tenant: UUID | None) -> Selection:
    return Selection(tenant_id=tenant, start=START, end=END)


def selections(planted: Planted) -> Iterator[Selection]:
    yield whole(planted.tenants[1])
    yield whole(planted.trending)
    yield msgspec.structs.replace(whole(planted.trending), mode=SearchMode.SEMANTIC)
    yield msgspec.structs.replace(
        whole(planted.tenants[-1]), collection="default", start=END - timedelta(days=7)
    )


def exact(found: Figures) -> dict[str, object]:
    """Return what is exact of figures, as a dictionary that can be compared."""
    told = msgspec.to_builtins(found)
    return {
        name: float(f"{value:.9g}") if isinstance(value, float) else value
        for name, value in told.items()
        if not name.startswith("p")
    }


async def test_figures_are_those_of_the_model(
    figures: FigureHandlers, planted: Planted, model: Model
) -> None:
    for selection in selections(planted):
        found = await figures.stats(selection)

        searches = model.within(selection)
        assert exact(found.figures) == exact(model.figures(searches))
        assert found.collapsed == len(model.within(selection, collapsed=True))


async def test_every_local_day_is_right_also_that_of_25_hours(
    figures: FigureHandlers, planted: Planted, model: Model
) -> None:
    selection = whole(planted.trending)

    found = await figures.timeseries(TimeseriesOf(selection=selection, tz="Europe/Berlin"))

    days = local_days(selection.start, selection.end, BERLIN)
    assert [(each.start, each.end) for each in found.buckets] == days
    assert timedelta(hours=25) in {end - start for start, end in days}
    for bucket in found.buckets:
        part = msgspec.structs.replace(
            selection, start=max(bucket.start, selection.start), end=min(bucket.end, selection.end)
        )
        assert exact(bucket.figures) == exact(model.figures(model.within(part)))


async def test_what_is_popular_is_found_with_its_figures(
    figures: FigureHandlers, planted: Planted, model: Model
) -> None:
    for tenant in planted.tenants[:3]:
        found = (await figures.popular(Ranked(whole(tenant), 10))).queries

        expected = sorted(
            (model.query_figures(searches) for searches in model.queries(whole(tenant)).values()),
            key=lambda each: (each.count, each.last_seen),
            reverse=True,
        )[:10]
        assert found[0].query == planted.popular[tenant]
        assert [(each.query, each.count, each.users, each.clicks) for each in found] == [
            (each.query, each.count, each.users, each.clicks) for each in expected
        ]


async def test_the_planted_click_rate_is_told(figures: FigureHandlers, planted: Planted) -> None:
    found = (await figures.popular(Ranked(whole(planted.trending), 1_000))).queries

    (clicked,) = [each for each in found if each.query == CLICKED]
    assert (clicked.count, clicked.click_through_rate, clicked.mean_reciprocal_rank) == (
        200,
        0.5,
        1 / (PLACE + 1),
    )
    assert clicked.abandonment_rate == 0.5


async def test_the_three_trends_are_found_among_seasonal_noise_and_at_most_one_other(
    figures: FigureHandlers, planted: Planted
) -> None:
    found = await figures.trending(TrendingOf(selection=whole(planted.trending), window_hours=24, limit=20))

    names = Counter(trend.query for trend in found.trends)
    assert set(TRENDS) <= set(names)
    assert len(names) <= len(TRENDS) + 1
    for trend in found.trends:
        assert trend.observed > trend.expected
        assert trend.clients >= 3
    others: dict[str, int] = defaultdict(int)
    for tenant in planted.tenants[1:]:
        for trend in (await figures.trending(TrendingOf(selection=whole(tenant), limit=20))).trends:
            others[trend.query] += 1
    assert sum(others.values()) <= 1
