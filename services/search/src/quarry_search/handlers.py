"""What answers `rpc.v1.search.*`."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace

from quarry_common.contracts.search import Answer, Query, Result, SearchMode
from quarry_common.embedding import bm25
from quarry_common.embedding.protocol import AsyncEmbedder
from quarry_common.errors import QuarryError
from quarry_common.ids import new_id
from quarry_common.telemetry import tracing
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.fusion import LEG_LIMIT
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.queries import Candidate, Legs
from quarry_search.domain import cursor, highlight, ranking
from quarry_search.metrics import SEARCH_SECONDS, SEARCHES

EMBED_SECONDS = 5.0
FETCH_ROUNDS = 3
SEARCH_ROUNDS = 3


class Timings:
    """How long each stage of one search took, in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within as that of stage `name`."""
        started = time.perf_counter()
        with tracing.span(f"search {name}"):
            try:
                yield
            finally:
                before = self.milliseconds.get(name, 0.0)
                self.milliseconds[name] = round(before + (time.perf_counter() - started) * 1000, 3)

    def total_seconds(self) -> float:
        """Return the time since the search began, and keep it as `total`."""
        seconds = time.perf_counter() - self._started
        self.milliseconds["total"] = round(seconds * 1000, 3)
        return seconds


class Handlers:
    """Answers searches from one vector index and one embedder."""

    def __init__(self, index: VectorIndex, embedder: AsyncEmbedder) -> None:
        self._index = index
        self._embedder = embedder

    async def query(self, query: Query) -> Answer:
        """Return the passages that `query` finds, best first; raises `ValidationError`."""
        timings = Timings()
        outcome = "cancelled"
        try:
            answer = await self._answer(query, timings)
            outcome = "found" if answer.results else "nothing"
        except QuarryError as error:
            outcome = error.data.code
            raise
        except Exception:
            outcome = QuarryError.code
            raise
        finally:
            SEARCH_SECONDS.labels(query.mode.value).observe(timings.total_seconds())
            SEARCHES.labels(query.mode.value, outcome).inc()
        return answer

    async def _answer(self, query: Query, timings: Timings) -> Answer:
        ranking.check_text(query.query)
        here = cursor.resume(query, LEG_LIMIT)
        scope = Scope(query.tenant_id, query.principals, query.filters)
        legs = await self._legs(query, timings)
        # What was ranked and has gone may have been replaced by a newer version, which the next round finds:
        # without it a document that is changing could be missing from the answer.
        for _ in range(SEARCH_ROUNDS):
            with timings.stage("index"):
                grouped = query.group_by_document
                ranked = await self._index.search(scope, legs, depth=here.depth, documents=grouped)
                if grouped:
                    ranked = ranking.best_of_documents(ranked)
            with timings.stage("fetch"):
                hits, shown, gone = await self._page(scope, ranked[here.offset :], query.limit)
            if not gone:
                break
        results = _results(query, hits, timings)
        more = here.offset + shown < len(ranked)
        trace.get_current_span().set_attributes(
            {"search.mode": query.mode.value, "search.total": len(ranked), "results": len(results)}
        )
        timings.total_seconds()
        return Answer(
            query_id=new_id(),
            mode=query.mode,
            query=query.query,
            total=len(ranked),
            results=results,
            timings_ms=timings.milliseconds,
            next_cursor=cursor.after(here, shown) if more else None,
        )

    async def _legs(self, query: Query, timings: Timings) -> Legs:
        dense = None
        if query.mode is not SearchMode.KEYWORD:
            with timings.stage("embed"):
                deadline = asyncio.get_running_loop().time() + EMBED_SECONDS
                dense = (await self._embedder.embed([query.query], deadline=deadline))[0]
        sparse = None if query.mode is SearchMode.SEMANTIC else bm25.encode_query(query.query)
        return Legs(query.query, dense, sparse)

    async def _page(
        self, scope: Scope, ranked: Sequence[Candidate], limit: int
    ) -> tuple[list[ranking.Hit], int, int]:
        """Return the first `limit` of `ranked` that are still there, how many it took, how many had gone."""
        hits: list[ranking.Hit] = []
        shown = gone = 0
        # More than one round only where something was deleted or replaced since the index was searched.
        for _ in range(FETCH_ROUNDS):
            part = ranked[shown : shown + limit - len(hits)]
            if not part:
                break
            passages = await self._index.fetch(scope, [found.chunk_id for found in part])
            gone += len(part) - len(passages)
            hits += [(found, passages[found.chunk_id]) for found in part if found.chunk_id in passages]
            hits = ranking.of_newest_versions(hits)
            shown += len(part)
        return hits, shown, gone


def _results(query: Query, hits: Sequence[ranking.Hit], timings: Timings) -> list[Result]:
    if not query.highlight:
        return [ranking.result(found, passage, []) for found, passage in hits]
    with timings.stage("highlight"):
        return [
            ranking.result(found, passage, highlight.excerpts(passage.text, query.query))
            for found, passage in hits
        ]
