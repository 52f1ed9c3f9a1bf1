"""Judged sets: saving them, filling them from the log, and running them against the live index."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from quarry_analytics import asking
from quarry_analytics.domain import judging
from quarry_analytics.domain.ranking import RankedBy
from quarry_analytics.domain.texts import hash_of, normal
from quarry_analytics.repository import judged
from quarry_analytics.repository.judged import StoredRun
from quarry_common.contracts.analytics import (
    MAX_JUDGED,
    MAX_SETS,
    AddLogged,
    JudgedQuery,
    JudgedSet,
    Measures,
    Run,
    Runs,
    RunSet,
    SaveSet,
    Selection,
    SetDetail,
    SetRef,
    Sets,
    SetsOf,
)
from quarry_common.contracts.filters import AnyOf, Field
from quarry_common.contracts.search import QUERY, Asker, Query, SearchMode
from quarry_common.errors import ConflictError, FieldError, NotFoundError, QuarryError, ValidationError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_common.postgres import idempotency
from quarry_common.postgres.pool import Connection, Database

AT_A_TIME = 4
SEARCH_SECONDS = 10.0
DEPTH = 100
CLICKS_OF = timedelta(days=90)
RUNS_SHOWN = 100


class SetHandlers:
    """Answers for judged sets."""

    def __init__(self, database: Database, rpc: RpcClient) -> None:
        self._database = database
        self._rpc = rpc

    async def save(self, asked: SaveSet) -> SetDetail:
        """Make a set, or give one another content. Raises `ConflictError` for a name that is taken."""
        queries = judging.merged([], asked.queries)
        if asked.set_id is not None:
            return await self._replace(asked, asked.set_id, queries)

        async def make(connection: Connection) -> SetDetail:
            if await judged.lock_sets(connection, asked.tenant_id) >= MAX_SETS:
                raise ConflictError(f"There are {MAX_SETS} judged sets.", advice="Delete one first.")
            set_id = new_id()
            if not await judged.insert(
                connection, asked.tenant_id, set_id, asked.name, asked.collection, queries
            ):
                raise _taken(asked.name)
            return await _detail(connection, SetRef(asked.tenant_id, set_id))

        told = msgspec.to_builtins(asked.queries, str_keys=True)
        fingerprint = idempotency.fingerprint("save_set", asked.name, asked.collection, told)
        detail, _ = await idempotency.once(
            self._database, asked.tenant_id, asked.idempotency_key, fingerprint, SetDetail, make
        )
        return detail

    async def _replace(self, asked: SaveSet, set_id: UUID, queries: list[JudgedQuery]) -> SetDetail:
        ref = SetRef(asked.tenant_id, set_id)
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            await judged.lock_sets(connection, asked.tenant_id)
            await _detail(connection, ref)
            others = await judged.sets(connection, asked.tenant_id, None)
            if any(other.name == asked.name and other.id != set_id for other in others):
                raise _taken(asked.name)
            await judged.replace(connection, asked.tenant_id, set_id, asked.name, asked.collection, queries)
            return await _detail(connection, ref)

    async def get(self, asked: SetRef) -> SetDetail:
        """Return a set. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            return await _detail(connection, asked)

    async def list(self, asked: SetsOf) -> Sets:
        """Return a tenant's sets."""
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            return Sets(await judged.sets(connection, asked.tenant_id, asked.collection))

    async def delete(self, asked: SetRef) -> JudgedSet:
        """Remove a set, and return it as it was. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            detail = await _detail(connection, asked)
            await judged.delete(connection, asked.tenant_id, asked.set_id)
        return detail.judged_set

    async def add_logged(self, asked: AddLogged) -> SetDetail:
        """Add queries that were searched. Raises `NotFoundError`, `ValidationError` when they are too
        many."""
        tenant_id = asked.ref.tenant_id
        async with self._database.tenant_transaction(tenant_id) as connection:
            found = await judged.get(connection, tenant_id, asked.ref.set_id, lock=True)
            if found is None:
                raise _no_set()
            known, queries = found
            texts = asked.queries or await _searched(connection, asked)
            added = [JudgedQuery(query=text) for text in texts]
            if asked.judge_by_clicks:
                added = await _judged_by_clicks(connection, tenant_id, texts)
            queries = judging.merged(queries, added)
            if len(queries) > MAX_JUDGED:
                message = f"would make {len(queries)} queries of the set; it holds {MAX_JUDGED} at most"
                raise ValidationError("The set is full.", errors=[FieldError("queries", message)])
            await judged.replace(
                connection, tenant_id, asked.ref.set_id, known.name, known.collection, queries
            )
            return await _detail(connection, asked.ref)

    async def run(self, asked: RunSet) -> Run:
        """Run a set against the live index and compare it with the run before.

        Raises `NotFoundError`, `ValidationError` when nothing is judged, and what every search raised.
        """
        detail = await self.get(asked.ref)
        queries = [query for query in detail.queries if judging.is_judged(query)]
        if not queries:
            message = "holds no query with a relevant document; judge some, or add them by their clicks"
            raise ValidationError("There is nothing to measure.", errors=[FieldError("queries", message)])
        found = await self._measure(asked, detail.judged_set.collection, queries)
        stored = StoredRun(
            new_id(),
            asked.mode.value,
            datetime.now(UTC),
            judging.averaged(list(found.values())),
            found,
            len(queries) - len(found),
        )
        async with self._database.tenant_transaction(asked.ref.tenant_id) as connection:
            await _detail(connection, asked.ref)
            earlier = await judged.runs(connection, asked.ref.tenant_id, asked.ref.set_id)
            await judged.add_run(connection, asked.ref.tenant_id, asked.ref.set_id, stored)
        return _run_of(asked.ref.set_id, stored, earlier)

    async def _measure(
        self, asked: RunSet, collection: str, queries: Sequence[JudgedQuery]
    ) -> dict[str, Measures]:
        slots = asyncio.Semaphore(AT_A_TIME)
        failures: list[QuarryError] = []

        async def one(judged_query: JudgedQuery) -> Measures | None:
            query = Query(
                asked.ref.tenant_id,
                judged_query.query,
                mode=asked.mode,
                limit=DEPTH,
                filters=AnyOf(Field.COLLECTION, (collection,)),
                group_by_document=True,
                principals=asked.principals,
                asker=Asker(recorded=False),
            )
            async with slots:
                try:
                    answer = await self._rpc.call(QUERY, query, timeout_seconds=SEARCH_SECONDS)
                except QuarryError as error:
                    failures.append(error)
                    return None
            ranking = [result.document_id for result in answer.results]
            return judging.measured(ranking, judged_query.judgements)

        async with asyncio.TaskGroup() as group:
            tasks = {query.query: group.create_task(one(query)) for query in queries}
        found = {query: measures for query, task in tasks.items() if (measures := task.result()) is not None}
        if not found:
            raise failures[0]
        return found

    async def runs(self, asked: SetRef) -> Runs:
        """Return the runs of a set. Raises `NotFoundError`."""
        async with self._database.tenant_transaction(asked.tenant_id) as connection:
            await _detail(connection, asked)
            stored = await judged.runs(connection, asked.tenant_id, asked.set_id)
        return Runs(
            [
                _run_of(asked.set_id, each, stored[place + 1 :])
                for place, each in enumerate(stored[:RUNS_SHOWN])
            ]
        )


def _run_of(set_id: UUID, stored: StoredRun, earlier: list[StoredRun]) -> Run:
    before = next((each for each in earlier if each.mode == stored.mode), None)
    return Run(
        id=stored.id,
        set_id=set_id,
        mode=SearchMode(stored.mode),
        ran_at=stored.ran_at,
        queries=len(stored.queries),
        failed=stored.failed,
        measures=stored.measures,
        before=None if before is None else before.measures,
        worst=judging.worst(stored.queries, {} if before is None else before.queries),
    )


async def _detail(connection: Connection, ref: SetRef) -> SetDetail:
    found = await judged.get(connection, ref.tenant_id, ref.set_id)
    if found is None:
        raise _no_set()
    return SetDetail(*found)


async def _searched(connection: Connection, asked: AddLogged) -> list[str]:
    selection = asked.selection
    if selection is None:
        now = datetime.now(UTC)
        selection = Selection(tenant_id=asked.ref.tenant_id, start=now - CLICKS_OF, end=now)
    by = RankedBy.NO_RESULTS if asked.no_results else RankedBy.SEARCHES
    found = await asking.ranked(connection, selection, by, asked.limit, clicks=False)
    return [each.query for each in found]


async def _judged_by_clicks(connection: Connection, tenant_id: UUID, texts: list[str]) -> list[JudgedQuery]:
    by_hash = {hash_of(normal(text)): text for text in texts}
    now = datetime.now(UTC)
    rows = await judged.clicked(connection, tenant_id, list(by_hash), now - CLICKS_OF, now)
    clicks: dict[int, dict[UUID, int]] = {query: {} for query in by_hash}
    for row in rows:
        clicks[row["query_hash"]][row["document_id"]] = row["clicks"]
    return [judging.from_clicks(by_hash[query], documents) for query, documents in clicks.items()]


def _no_set() -> NotFoundError:
    return NotFoundError("There is no such judged set.")


def _taken(name: str) -> ConflictError:
    return ConflictError(f"There is a judged set {name!r} already.", advice="Choose another name.")
