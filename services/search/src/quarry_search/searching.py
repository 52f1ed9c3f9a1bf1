"""One search, stage by stage: embed, ask the index, look at the list as a whole, rerank, fetch a page."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import numpy as np
from numpy.typing import NDArray
from opentelemetry import trace

from quarry_common.contracts.search import (
    Answer,
    Explanation,
    FacetCount,
    Place,
    Query,
    RerankOutcome,
    Result,
    SearchMode,
)
from quarry_common.embedding import bm25
from quarry_common.embedding.analyzer import tokenize
from quarry_common.embedding.protocol import AsyncEmbedder
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.telemetry import tracing
from quarry_common.vectors.filters import Scope
from quarry_common.vectors.fusion import LEG_LIMIT, fusion_weights
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import Passage
from quarry_common.vectors.queries import Candidate, Legs, Ranking
from quarry_search.domain import cursor, found, highlight, ranking, typos, wording
from quarry_search.domain.tuning import PLATFORM, Tuning
from quarry_search.domain.wording import Wording
from quarry_search.reranking import Reranker
from quarry_search.timings import Timings

log = logging.getLogger(__name__)

EMBED_SECONDS = 5.0
FETCH_ROUNDS = 3
SEARCH_ROUNDS = 3


class Listed(msgspec.Struct):
    """The ranked list, and what is known of it besides."""

    ranking: Ranking
    candidates: list[Candidate]
    facets: dict[str, list[FacetCount]] = {}
    corrections: list[str] = []
    rerank: RerankOutcome = RerankOutcome.NOT_ASKED
    reranked: dict[str, Place] = {}


class Searcher:
    """Searches one vector index with one embedder; a reranker may order what was found."""

    def __init__(
        self,
        index: VectorIndex,
        embedder: AsyncEmbedder,
        reranker: Reranker | None = None,
        *,
        rerank_by_default: bool = False,
        multilingual: bool = False,
    ) -> None:
        """`multilingual` says whether the embedder learnt more than English."""
        self._index = index
        self._embedder = embedder
        self._reranker = reranker
        self._rerank_by_default = rerank_by_default
        self._multilingual = multilingual

    async def search(self, query: Query, timings: Timings, tuning: Tuning = PLATFORM) -> Answer:
        """Return the passages that `query` finds, best first; raises `ValidationError`, and what embedder and
        index raise."""
        asked = wording.read(query.query)
        here = cursor.resume(query, LEG_LIMIT)
        scope = Scope(query.tenant_id, query.principals, query.filters)
        depth = cursor.MAX_DEPTH if asked.phrases else here.depth
        terms = tuning.terms(query.query)
        with self._legs(query, timings, terms, tuning) as legs:
            # What was ranked and has gone may have been replaced by a newer version, which the next round
            # finds: without it a document that is changing could be missing from the answer.
            for _ in range(SEARCH_ROUNDS):
                listed = await self._list(query, asked, scope, legs, depth, timings)
                with timings.stage("fetch"):
                    # What a reranker took its time over is read again.
                    known = {} if listed.reranked else listed.ranking.passages
                    ranked = listed.candidates[here.offset :]
                    hits, shown, gone = await self._page(scope, ranked, query.limit, known)
                if not gone:
                    break
        results = self._results(query, listed, hits, timings)
        total = len(listed.candidates)
        trace.get_current_span().set_attributes(
            {"search.mode": query.mode.value, "search.total": total, "results": len(results)}
        )
        timings.total_seconds()
        return Answer(
            query_id=new_id(),
            mode=query.mode,
            query=query.query,
            total=total,
            results=results,
            timings_ms=timings.milliseconds,
            next_cursor=cursor.after(here, shown) if here.offset + shown < total else None,
            facets=listed.facets,
            rerank=listed.rerank,
            similarity=max((each.score for each in listed.ranking.dense[:1]), default=None),
            explanation=_explanation(query, asked, listed, legs, terms) if query.explain else None,
        )

    @contextmanager
    def _legs(
        self, query: Query, timings: Timings, terms: Mapping[str, float], tuning: Tuning
    ) -> Iterator[Legs]:
        """Yield what is searched by. The dense vector is still being made: keywords need not wait for it."""
        dense = None
        if query.mode is not SearchMode.KEYWORD:
            dense = asyncio.ensure_future(self._embedded(query, timings))
        sparse = None if query.mode is SearchMode.SEMANTIC else bm25.encode_terms(terms)
        weights = fusion_weights(
            query.query,
            language=tuning.language,
            dense=tuning.dense_weight,
            multilingual=self._multilingual,
        )
        try:
            yield Legs(dense, sparse, weights)
        finally:
            if dense is not None:
                dense.cancel()

    async def _embedded(self, query: Query, timings: Timings) -> NDArray[np.float32]:
        with timings.stage("embed"):
            deadline = asyncio.get_running_loop().time() + EMBED_SECONDS
            owner = str(query.tenant_id)
            vectors = await self._embedder.embed([query.query], deadline=deadline, owner=owner)
            vector: NDArray[np.float32] = vectors[0]
            return vector

    async def _list(
        self, query: Query, asked: Wording, scope: Scope, legs: Legs, depth: int, timings: Timings
    ) -> Listed:
        with timings.stage("index"):
            grouped = query.group_by_document
            ranked = await self._index.search(scope, legs, depth=depth, documents=grouped)
            listed = Listed(ranked, ranked.candidates)
            if legs.sparse is not None and legs.sparse.indices and not ranked.sparse:
                words = typos.correctable(tokenize(query.query))
                listed = await self._corrected(scope, legs, words, depth, listed, grouped=grouped)
        if query.min_score is not None:
            least = query.min_score
            listed.candidates = [each for each in listed.candidates if each.score >= least]
        if fields := found.needed_fields(query, asked):
            with timings.stage("attributes"):
                await self._look_at(query, asked, scope, listed, fields)
        if query.group_by_document:
            listed.candidates = ranking.best_of_documents(listed.candidates)
        if self._reranks(query):
            with timings.stage("rerank"):
                await self._rerank(query, scope, listed)
        return listed

    async def _corrected(
        self, scope: Scope, legs: Legs, words: list[str], depth: int, listed: Listed, *, grouped: bool
    ) -> Listed:
        """Return the list with likely misspellings of the query's words, which stand nowhere."""
        if not words or legs.sparse is None:
            return listed
        wider = msgspec.structs.replace(legs, sparse=typos.widened(legs.sparse, words))
        ranked = await self._index.search(scope, wider, depth=depth, documents=grouped)
        return Listed(ranked, ranked.candidates, corrections=words) if ranked.sparse else listed

    async def _look_at(
        self, query: Query, asked: Wording, scope: Scope, listed: Listed, fields: Sequence[str]
    ) -> None:
        ids = [each.chunk_id for each in listed.candidates]
        known = await self._index.attributes(scope, ids, fields)
        kept = [each for each in listed.candidates if each.chunk_id in known]
        kept = found.with_phrases(kept, known, asked)
        if query.facets:
            listed.facets = found.counts(kept, known, query.facets, query.facet_limit)
        listed.candidates = found.by_sort(kept, known, query.sort) if query.sort else kept

    def _reranks(self, query: Query) -> bool:
        wanted = self._rerank_by_default if query.rerank is None else query.rerank
        return wanted and query.sort is None and (self._reranker is not None or query.rerank is True)

    async def _rerank(self, query: Query, scope: Scope, listed: Listed) -> None:
        """Let the reranker order the best results; when it cannot, they stay as they are and it is told."""
        listed.rerank = RerankOutcome.FAILED
        if self._reranker is None:
            return
        best = listed.candidates[: self._reranker.candidates]
        known = await self._index.attributes(scope, [each.chunk_id for each in best], ["text", "title"])
        best = [each for each in best if each.chunk_id in known]
        texts = [f"{known[each.chunk_id].get('title')}\n{known[each.chunk_id].get('text')}" for each in best]
        try:
            scores = await self._reranker.scores(query.query, texts) if texts else []
        except UnavailableError as error:
            log.warning("results stay in the fused order: %s", error)
            return
        order = sorted(range(len(best)), key=lambda place: -scores[place])
        listed.reranked = {
            best[place].chunk_id: Place(rank, scores[place]) for rank, place in enumerate(order, start=1)
        }
        rest = [each for each in listed.candidates if each.chunk_id not in listed.reranked]
        listed.candidates = [best[place] for place in order] + rest
        listed.rerank = RerankOutcome.DONE

    async def _page(
        self, scope: Scope, ranked: Sequence[Candidate], limit: int, known: Mapping[str, Passage]
    ) -> tuple[list[ranking.Hit], int, int]:
        """Return the first `limit` of `ranked` that are still there, how many it took, how many had gone.

        `known` are passages that were read just now.
        """
        hits: list[ranking.Hit] = []
        shown = gone = 0
        # More than one round only where something was deleted or replaced since the index was searched.
        for _ in range(FETCH_ROUNDS):
            part = ranked[shown : shown + limit - len(hits)]
            if not part:
                break
            ids = [each.chunk_id for each in part]
            passages = {each: known[each] for each in ids if each in known}
            passages |= await self._index.fetch(scope, [each for each in ids if each not in known])
            gone += len(part) - len(passages)
            hits += [(each, passages[each.chunk_id]) for each in part if each.chunk_id in passages]
            hits = ranking.of_newest_versions(hits)
            shown += len(part)
        return hits, shown, gone

    def _results(
        self, query: Query, listed: Listed, hits: Sequence[ranking.Hit], timings: Timings
    ) -> list[Result]:
        ranked = listed.ranking
        places = ranking.Places(ranked.dense, ranked.sparse, ranked.candidates) if query.explain else None
        excerpts = [[] for _ in hits] if not query.highlight else self._excerpts(query, hits, timings)
        return [
            ranking.result(
                each,
                passage,
                marked,
                places.explain(each.chunk_id, listed.reranked.get(each.chunk_id)) if places else None,
            )
            for (each, passage), marked in zip(hits, excerpts, strict=True)
        ]

    def _excerpts(self, query: Query, hits: Sequence[ranking.Hit], timings: Timings) -> list[list[str]]:
        with timings.stage("highlight"):
            return [highlight.excerpts(passage.text, query.query) for _, passage in hits]


def _explanation(
    query: Query, asked: Wording, listed: Listed, legs: Legs, terms: Mapping[str, float]
) -> Explanation:
    hybrid = query.mode is SearchMode.HYBRID
    return Explanation(
        dense_weight=legs.weights.dense if hybrid else None,
        terms=[] if query.mode is SearchMode.SEMANTIC else list(terms),
        phrases=list(asked.phrases),
        corrections=listed.corrections,
        filters=query.filters,
        principals=sorted(query.principals),
        rerank=listed.rerank,
        trace_id=tracing.trace_id(),
    )
