"""Made-up searches, and what every figure of them has to be: counted one by one, as plainly as it can be
said."""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import msgspec

from quarry_common.contracts import subjects
from quarry_common.contracts.analytics import Engagement, Figures, QueryFigures, Selection
from quarry_common.contracts.events import CloudEvent, EventData
from quarry_common.contracts.events.searches import CLICK, Interacted, Searched
from quarry_common.contracts.search import CacheUse, SearchMode
from quarry_common.messaging.consumer import Delivery

NAMESPACE = UUID(int=7)
LOW_CONFIDENCE = 0.35
COLLECTIONS = (None, None, "default", "handbook")
MODES = (SearchMode.HYBRID, SearchMode.HYBRID, SearchMode.SEMANTIC, SearchMode.KEYWORD)


def id_at(moment: datetime, rng: random.Random) -> UUID:
    """Return a UUIDv7 of that millisecond."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62))


@dataclass
class World:
    """Everything that happened, and the messages that tell of it."""

    rng: random.Random
    searches: list[tuple[UUID, Searched]] = field(default_factory=list)
    interactions: list[tuple[UUID, Interacted]] = field(default_factory=list)

    def search(self, tenant: UUID, moment: datetime, query: str, **given: object) -> Searched:
        """Let somebody search."""
        rng = self.rng
        query_id = id_at(moment, rng)
        mode = rng.choice(MODES)
        results = [uuid5(NAMESPACE, str(rng.randrange(500))) for _ in range(rng.choice((0, 3, 10, 10)))]
        results = list(dict.fromkeys(results))
        fields = {
            "query_id": query_id,
            "occurred_at": moment,
            "query": query,
            "mode": mode,
            "collection": rng.choice(COLLECTIONS),
            "filtered": rng.random() < 0.2,
            "continued": rng.random() < 0.03,
            "total": len(results) * rng.randrange(1, 9),
            "results": results,
            "top_score": round(rng.random(), 4) if results else None,
            "similarity": round(rng.random(), 4) if results and mode is not SearchMode.KEYWORD else None,
            "duration_ms": round(rng.lognormvariate(2, 0.8) * 8) / 8,
            "cache": rng.choice((CacheUse.HIT, CacheUse.MISS, CacheUse.MISS)),
            "key_id": None,
            "user_id": None,
            "client_id": None,
            "trace_id": "",
            **given,
        }
        made = Searched(**fields)  # type: ignore[arg-type]
        self.searches.append((tenant, made))
        return made

    def click(self, tenant: UUID, search: Searched, document: UUID | None = None, **given: object) -> None:
        """Let somebody click on a result, or on a document that is none."""
        after = timedelta(milliseconds=self.rng.randrange(500, 60_000))
        chosen = document or (self.rng.choice(search.results) if search.results else uuid5(NAMESPACE, "none"))
        fields = {
            "event_id": UUID(int=self.rng.getrandbits(128)),
            "query_id": search.query_id,
            "occurred_at": search.occurred_at + after,
            "action": CLICK,
            "document_id": chosen,
            "value": None,
            "user_id": search.user_id,
            "client_id": search.client_id,
            "session_id": None,
            **given,
        }
        self.interactions.append((tenant, Interacted(**fields)))  # type: ignore[arg-type]

    def messages(self, together: int = 40) -> list[Delivery]:
        """Return messages that tell of everything: out of order, and some twice."""
        told = [*self.searches, *self.interactions]
        told += self.rng.sample(told, len(told) // 50)
        self.rng.shuffle(told)
        groups: dict[tuple[UUID, bool], list[CloudEvent]] = defaultdict(list)
        found = []
        for tenant, data in told:
            group = groups[tenant, isinstance(data, Searched)]
            group.append(event(tenant, data))
            if len(group) == together:
                found.append(delivery(group))
                group.clear()
        found += [delivery(group) for group in groups.values() if group]
        self.rng.shuffle(found)
        return found


def event(tenant: UUID, data: EventData, event_id: UUID | None = None) -> CloudEvent:
    """Return an event as it is sent."""
    return CloudEvent(
        id=str(event_id or data.subject_id), source="/quarry/search", type=data.type, subject=data.subject_id,
        time=datetime.now(UTC), tenantid=str(tenant), data=msgspec.Raw(msgspec.json.encode(data)),
        specversion="1.0", datacontenttype="application/json",
    )  # fmt: skip


def delivery(events: Sequence[CloudEvent]) -> Delivery:
    """Return a message that holds events."""
    subject = subjects.search_log(UUID(events[0].tenantid))
    return Delivery(subject, msgspec.json.encode(events), 1)


def world(seed: int, tenants: Sequence[UUID], start: datetime, days: float, searches: int) -> World:
    """Return a world of ordinary searches: few frequent queries and many rare ones, users who type, and
    clicks."""
    made = World(random.Random(seed))
    rng = made.rng
    queries = [f"{rng.choice(WORDS)} {rng.choice(WORDS)} {number}" for number in range(60)]
    for _ in range(searches):
        tenant = rng.choice(tenants)
        moment = start + timedelta(milliseconds=rng.randrange(int(days * 86_400_000)))
        query = queries[min(int(rng.paretovariate(0.7)) - 1, len(queries) - 1)]
        query = rng.choice((query, query.upper(), f" {query}  "))
        who: dict[str, object] = {}
        if rng.random() < 0.6:
            who["user_id"] = f"user-{rng.randrange(25)}"
        if rng.random() < 0.4:
            who["client_id"] = f"browser-{rng.randrange(40)}"
        if who and rng.random() < 0.15:
            text = query.strip()
            for length in range(3, len(text), 4):
                made.search(tenant, moment, text[:length], **{**who, "continued": False})
                moment += timedelta(milliseconds=rng.randrange(100, 4_000))
        found = made.search(tenant, moment, query, **who)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            made.click(tenant, found)
        if rng.random() < 0.02:
            made.click(tenant, found, uuid5(NAMESPACE, "no result of it"))
    return made


WORDS = ("lease", "deposit", "notice", "rent", "Kündigung", "garage", "insurance", "vacation", "tax", "loan")


def same(query: str) -> str:
    """Return what makes queries the same, for texts of `WORDS`."""
    return " ".join(query.casefold().split())


class Model:
    """What has to be answered about a world."""

    def __init__(self, world: World) -> None:
        self.searches = list(
            {search.query_id: (tenant, search) for tenant, search in world.searches}.values()
        )
        self.clicks: dict[UUID, list[Interacted]] = defaultdict(list)
        known = {search.query_id: search for _, search in self.searches}
        for each in {told.event_id: told for _, told in world.interactions}.values():
            if each.query_id in known and each.document_id in known[each.query_id].results:
                self.clicks[each.query_id].append(each)
        self.collapsed = set(self._collapsed())

    def _collapsed(self) -> Iterable[UUID]:
        clients: dict[tuple[UUID, str], list[Searched]] = defaultdict(list)
        for tenant, search in self.searches:
            if not search.continued and (who := search.client_id or search.user_id):
                clients[tenant, f"{bool(search.client_id)}{who}"].append(search)
        for typed in clients.values():
            typed.sort(key=lambda each: (each.occurred_at, each.query_id))
            for one, following in pairwise(typed):
                longer = same(following.query).startswith(same(one.query)) and same(following.query) != same(
                    one.query
                )
                if longer and following.occurred_at - one.occurred_at <= timedelta(seconds=3):
                    yield one.query_id

    def within(self, selection: Selection, *, collapsed: bool = False) -> list[Searched]:
        """Return the searches that count, or those that are collapsed."""
        return [
            search
            for tenant, search in self.searches
            if selection.tenant_id in {None, tenant}
            and selection.start <= search.occurred_at < selection.end
            and selection.collection in {None, search.collection}
            and selection.mode in {None, search.mode}
            and not search.continued
            and (search.query_id in self.collapsed) is collapsed
        ]

    def queries(self, selection: Selection) -> dict[str, list[Searched]]:
        """Return the searches of each query."""
        found: dict[str, list[Searched]] = defaultdict(list)
        for search in self.within(selection):
            found[same(search.query)].append(search)
        return found

    def figures(self, searches: Sequence[Searched]) -> Figures:
        """Return what searches come to."""
        count = len(searches)
        modes = {mode: sum(each.mode is mode for each in searches) for mode in SearchMode}
        return Figures(
            total_searches=count,
            unique_queries=len({same(each.query) for each in searches}),
            unique_users=len({each.user_id for each in searches} - {None}),
            avg_results=ratio(sum(each.total for each in searches), count),
            no_result_rate=ratio(sum(each.total == 0 for each in searches), count),
            low_confidence_rate=ratio(sum(self.low(each) for each in searches), count),
            cache_hit_rate=ratio(sum(each.cache is CacheUse.HIT for each in searches), count),
            **self.timing(searches),
            **self.engagement(searches),
            modes=modes,
            favorite_search_type=max(modes, key=lambda mode: modes[mode]) if count else None,
        )

    def query_figures(self, searches: Sequence[Searched]) -> QueryFigures:
        """Return how a query did."""
        of_all = self.figures(searches)
        last = max(searches, key=lambda each: (each.occurred_at, each.query))
        return QueryFigures(
            query=last.query,
            count=len(searches),
            users=of_all.unique_users,
            avg_results=of_all.avg_results,
            no_results=sum(each.total == 0 for each in searches),
            low_confidence=sum(self.low(each) for each in searches),
            **{name: getattr(of_all, name) for name in Engagement.__struct_fields__},
            modes=of_all.modes,
            favorite_search_type=of_all.favorite_search_type,
            first_seen=min(each.occurred_at for each in searches),
            last_seen=last.occurred_at,
        )

    @staticmethod
    def low(search: Searched) -> bool:
        """Whether it found something, and nothing good."""
        return search.similarity is not None and search.similarity < LOW_CONFIDENCE

    @staticmethod
    def timing(searches: Sequence[Searched]) -> dict[str, float | None]:
        """Return average and exact percentiles."""
        durations = sorted(each.duration_ms for each in searches)

        def percentile(rank: float) -> float | None:
            return durations[max(math.ceil(rank * len(durations)), 1) - 1] if durations else None

        return {
            "avg_execution_time_ms": ratio(math.fsum(durations), len(durations)),
            "p50_execution_time_ms": percentile(0.5),
            "p95_execution_time_ms": percentile(0.95),
            "p99_execution_time_ms": percentile(0.99),
        }

    def engagement(self, searches: Sequence[Searched]) -> dict[str, Any]:
        """Return what users did."""
        with_results = sum(each.total > 0 for each in searches)
        clicked = [each for each in searches if self.clicks[each.query_id]]
        places = [
            each.results.index(
                min(
                    self.clicks[each.query_id], key=lambda told: (told.occurred_at, told.event_id)
                ).document_id  # type: ignore[arg-type]
            )
            + 1
            for each in clicked
        ]
        return {
            "clicks": sum(len(self.clicks[each.query_id]) for each in searches),
            "click_through_rate": ratio(len(clicked), with_results),
            "mean_reciprocal_rank": ratio(math.fsum(1 / place for place in places), len(places)),
            "abandonment_rate": ratio(with_results - len(clicked), with_results),
        }


def ratio(part: float, whole: int) -> float | None:
    """Return a quotient; None of nothing."""
    return part / whole if whole else None


def local_days(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Return the days of a time zone that a range touches."""
    found, day = [], start.astimezone(zone).date()
    while True:
        begin = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        day += timedelta(days=1)
        over = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        if begin >= end:
            return found
        if over > start:
            found.append((begin, over))
