"""Judged sets are filled from the log and run against what searches answer."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from services.analytics.tests.searched import LOW_CONFIDENCE, NAMESPACE, World

from quarry_analytics.handlers.sets import SetHandlers
from quarry_analytics.recording import Recording
from quarry_analytics.refreshing import Refreshing
from quarry_analytics.settings import AnalyticsSettings
from quarry_common.contracts.analytics import (
    AddLogged,
    JudgedQuery,
    JudgementSource,
    RunSet,
    SaveSet,
    SetDetail,
    SetRef,
    SetsOf,
)
from quarry_common.contracts.search import QUERY, Answer, Query, Result
from quarry_common.errors import ConflictError, NotFoundError, RemoteError, UnavailableError, ValidationError
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient, RpcServer
from quarry_common.postgres.pool import Database

GOOD, FAIR = uuid5(NAMESPACE, "1"), uuid5(NAMESPACE, "2")
NOW = datetime.now(UTC)


class Index:
    """Answers searches with what it is told to find."""

    def __init__(self) -> None:
        self.found: dict[str, Sequence[UUID]] = {}
        self.asked: list[Query] = []
        self.away = False

    async def query(self, query: Query) -> Answer:
        self.asked.append(query)
        if self.away:
            raise UnavailableError("The index is away.")
        given: dict[str, Any] = {
            "external_id": None, "chunk_id": uuid4(), "version": 1, "title": "", "heading_path": [],
            "page": None, "char_start": 0, "char_end": 0, "text": "", "highlights": [], "score": 1.0,
            "doc_type": "txt", "tags": [], "metadata": {}, "collection": "default", "source_url": None,
            "created_at": NOW,
        }  # fmt: skip
        results = [Result(document_id=each, **given) for each in self.found.get(query.query, ())]
        return Answer(uuid4(), query.mode, query.query, len(results), results, {})


@pytest.fixture
async def index(settings: AnalyticsSettings) -> AsyncIterator[tuple[Index, RpcClient]]:
    made, stopping = Index(), asyncio.Event()
    async with broker.connect(settings, "test") as bus:
        server = RpcServer(bus, "search")
        server.answer(QUERY, made.query)
        answering = asyncio.create_task(server.run(stopping))
        await asyncio.sleep(0)
        await bus.flush()
        yield made, RpcClient(bus)
        stopping.set()
        await answering


@pytest.fixture
def sets(database: Database, index: tuple[Index, RpcClient]) -> SetHandlers:
    return SetHandlers(database, index[1])


async def saved(sets: SetHandlers, tenant: UUID, *queries: JudgedQuery, name: str = "mine") -> SetDetail:
    return await sets.save(SaveSet(tenant_id=tenant, name=name, collection="default", queries=list(queries)))


async def test_a_run_tells_measures_and_what_changed(
    sets: SetHandlers, index: tuple[Index, RpcClient]
) -> None:
    tenant = new_id()
    made = await saved(
        sets, tenant, JudgedQuery(query="lease", judgements={GOOD: 3}), JudgedQuery(query="unjudged")
    )
    ref = SetRef(tenant, made.judged_set.id)
    index[0].found["lease"] = [GOOD]
    first = await sets.run(RunSet(ref))
    index[0].found["lease"] = [FAIR, GOOD]

    second = await sets.run(RunSet(ref))

    assert (first.queries, first.measures.ndcg_at_10, first.before) == (1, 1.0, None)
    assert second.before == first.measures
    assert second.measures.mean_reciprocal_rank == 0.5
    assert second.worst[0].before == first.measures
    assert [run.id for run in (await sets.runs(ref)).runs] == [second.id, first.id]
    asked = index[0].asked[-1]
    assert (asked.limit, asked.group_by_document, asked.asker.recorded) == (100, True, False)


async def test_searches_that_fail_are_counted_and_when_all_do_the_run_does(
    sets: SetHandlers, index: tuple[Index, RpcClient]
) -> None:
    tenant = new_id()
    made = await saved(sets, tenant, JudgedQuery(query="lease", judgements={GOOD: 3}))
    index[0].away = True

    with pytest.raises(RemoteError, match="away"):
        await sets.run(RunSet(SetRef(tenant, made.judged_set.id)))

    assert (await sets.runs(SetRef(tenant, made.judged_set.id))).runs == []


async def test_logged_queries_are_added_and_judged_by_their_clicks(
    sets: SetHandlers, database: Database
) -> None:
    tenant, world = new_id(), World(random.Random(9))
    for number in range(6):
        moment = NOW - timedelta(hours=2, minutes=number)
        search = world.search(tenant, moment, "Lease", results=[FAIR, GOOD], total=2, continued=False)
        world.click(tenant, search, GOOD if number else FAIR)
    world.search(tenant, NOW - timedelta(hours=1), "gap", results=[], total=0, continued=False)
    await Recording(database, keep_days=90, low_confidence=LOW_CONFIDENCE).take(world.messages())
    await Refreshing(database, 1.0).refresh()
    ref = SetRef(tenant, (await saved(sets, tenant)).judged_set.id)

    await sets.add_logged(AddLogged(ref=ref, no_results=True))
    found = await sets.add_logged(AddLogged(ref=ref, judge_by_clicks=True))

    by_query = {each.query: each for each in found.queries}
    assert set(by_query) == {"gap", "Lease"}
    assert by_query["gap"].judgements == {}
    assert (by_query["Lease"].judgements, by_query["Lease"].source) == ({GOOD: 3}, JudgementSource.CLICKS)
    assert found.judged_set.judged == 1


async def test_names_are_unique_and_sets_of_others_are_none(sets: SetHandlers) -> None:
    tenant, other = new_id(), new_id()
    made = await saved(sets, tenant, JudgedQuery(query="lease"))
    ref = SetRef(tenant, made.judged_set.id)

    with pytest.raises(ConflictError):
        await saved(sets, tenant)
    with pytest.raises(NotFoundError):
        await sets.get(SetRef(other, made.judged_set.id))
    with pytest.raises(ValidationError, match="nothing to measure"):
        await sets.run(RunSet(ref))
    renamed = SaveSet(
        tenant_id=tenant, name="theirs", collection="default", queries=[], set_id=made.judged_set.id
    )
    assert (await sets.save(renamed)).judged_set.revision == 2
    assert [each.name for each in (await sets.list(SetsOf(tenant))).sets] == ["theirs"]
    await sets.delete(ref)
    assert (await sets.list(SetsOf(tenant))).sets == []


async def test_a_repeated_request_makes_one_set(sets: SetHandlers) -> None:
    asked = SaveSet(
        tenant_id=new_id(), name="mine", collection="default", queries=[], idempotency_key="again"
    )

    first, second = await sets.save(asked), await sets.save(asked)

    assert first == second
