"""The search service put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from quarry_common.cache.cache import open_cache
from quarry_common.cache.control import control_of
from quarry_common.cache.generations import open_generations
from quarry_common.contracts import search
from quarry_common.embedding.load import open_embedder
from quarry_common.messaging import broker
from quarry_common.messaging.rpc import RpcClient, RpcServer
from quarry_common.service import Service, ServiceDefinition
from quarry_common.telemetry.tracing import instance_id
from quarry_common.vectors import connection
from quarry_common.vectors.index import VectorIndex
from quarry_search.caching import CachedAnswers, CachedQueries
from quarry_search.handlers import Handlers
from quarry_search.recording import Recorder
from quarry_search.reranking import open_reranker
from quarry_search.searching import Searcher
from quarry_search.settings import SearchSettings
from quarry_search.tuning import TuningSource

SERVICE = "search"


@asynccontextmanager
async def build(settings: SearchSettings) -> AsyncIterator[Service]:
    """Load the embedder, connect, and yield the service."""
    async with (
        open_embedder(settings, queries=True) as embedder,
        open_reranker(settings) as reranker,
        connection.connect(settings) as qdrant,
        broker.connect(settings, SERVICE) as bus,
        open_cache(settings, SERVICE) as cache,
        open_generations(settings, bus, cache) as generations,
    ):
        index = VectorIndex(qdrant, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        remote = settings.embedder == "openai"
        queries = CachedQueries(embedder, cache, shared=remote)
        searcher = Searcher(
            index,
            queries,
            reranker,
            rerank_by_default=settings.reranker_default,
            multilingual=remote and settings.embedder_multilingual,
        )
        shapes = (
            embedder.id,
            settings.embedder_multilingual,
            settings.reranker_url,
            settings.reranker_model,
            settings.reranker_default,
            settings.reranker_candidates,
        )
        answers = CachedAnswers(cache, generations, shapes)
        tunings = TuningSource(RpcClient(bus))
        await tunings.listen(bus)
        recorder = Recorder(bus, instance_id(settings)) if settings.analytics_enabled else None
        handlers = Handlers(searcher, tunings, answers, recorder, settings.batch_concurrency)
        server = RpcServer(bus, SERVICE, settings.search_concurrency)
        server.answer(search.QUERY, handlers.query)
        server.answer(search.BATCH, handlers.batch)
        control = control_of(
            bus, SERVICE, instance_id(settings), cache, generations, caches=[answers, queries]
        )
        yield Service(
            parts=[server, generations, control, *([recorder] if recorder else [])],
            checks={"vector_index": index.check, "message_bus": partial(broker.check, bus)},
        )
        if recorder:
            await recorder.flush()


definition = ServiceDefinition(name=SERVICE, settings=SearchSettings, build=build)
