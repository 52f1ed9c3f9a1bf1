"""The indexer put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files

from quarry_common.blobs import open_store
from quarry_common.contracts import collections as collection_contract
from quarry_common.contracts import documents
from quarry_common.contracts import jobs as job_contract
from quarry_common.contracts import usage as usage_contract
from quarry_common.contracts.audit import OWNERS_OF
from quarry_common.contracts.purging import PURGE_DOCUMENTS
from quarry_common.contracts.replaying import OutboxService
from quarry_common.contracts.streams import INDEXER_COMMANDS
from quarry_common.embedding.load import open_embedder
from quarry_common.messaging.broker import broker, check, connect
from quarry_common.messaging.consumer import DurableConsumer
from quarry_common.messaging.heartbeat import Heartbeat
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.replaying import answer_replays
from quarry_common.messaging.rpc import RpcServer
from quarry_common.messaging.watchdog import consumers_exist
from quarry_common.postgres.pool import Database, connect_pool
from quarry_common.postgres.sessions import SilentSessions
from quarry_common.service import Service, ServiceDefinition
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.tenants import TenantPoints
from quarry_indexer import SERVICE
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.domain.collection_settings import Limits
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.handlers.changes import Changes
from quarry_indexer.handlers.collections import Collections
from quarry_indexer.handlers.commands import Commands
from quarry_indexer.handlers.documents import Documents
from quarry_indexer.handlers.inspection import IndexInspection
from quarry_indexer.handlers.jobs import Jobs
from quarry_indexer.handlers.owners import Ownership
from quarry_indexer.handlers.purging import TenantPurging
from quarry_indexer.handlers.usage import UsageReports
from quarry_indexer.indexing.activation import Activation
from quarry_indexer.indexing.embedding import CachedEmbedder
from quarry_indexer.indexing.inspection import Inspection
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.indexing.purge import Purge
from quarry_indexer.indexing.reading import Reader
from quarry_indexer.indexing.recount import Recount
from quarry_indexer.indexing.tenant_purge import TenantPurge
from quarry_indexer.indexing.upkeep import Upkeep
from quarry_indexer.indexing.worker import Worker
from quarry_indexer.indexing.writing import Writer
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.settings import IndexerSettings


@asynccontextmanager
async def build(settings: IndexerSettings) -> AsyncIterator[Service]:
    """Open what the indexer needs, yield it, and close all."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect(settings, "quarry-indexer"))
        database = await stack.enter_async_context(connect_pool(settings, SERVICE))
        parser = await stack.enter_async_context(ParserPool(settings))
        embedder = await stack.enter_async_context(open_embedder(settings))
        client = await stack.enter_async_context(connect_qdrant(settings))
        index = VectorIndex(client, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        blobs = open_store(settings)

        options = ChunkOptions(max_tokens=settings.chunk_tokens, overlap_tokens=settings.chunk_overlap_tokens)
        purge = Purge(database, blobs, index)
        pipeline = Pipeline(
            database,
            index,
            Reader(database, blobs, parser, options, fair=settings.indexer_fairness),
            Writer(database, index, CachedEmbedder(database, embedder, fair=settings.indexer_fairness)),
            Activation(database, index, purge.wake),
        )
        worker = Worker(
            database,
            pipeline,
            concurrency=settings.indexer_concurrency,
            lease_seconds=settings.job_lease_seconds,
            fair=settings.indexer_fairness,
        )
        inspection = Inspection(database, index, worker.wake)
        upkeep = Upkeep(
            database,
            blobs,
            index,
            inspection,
            Recount(database, interval_seconds=settings.quota_recount_seconds),
            interval_seconds=settings.index_check_seconds,
            embedding_days=settings.embedding_cache_days,
        )

        rpc = RpcServer(connection, SERVICE, settings.indexer_rpc_concurrency)
        acceptance = Acceptance(database, blobs, embedder.id, worker.wake)
        reading = Documents(database, blobs)
        changes = Changes(database, index, worker.wake, purge.wake)
        jobs = Jobs(database, worker.wake, purge.wake)
        limits = Limits(options.max_tokens, embedder.max_tokens)
        collections = Collections(database, index, embedder.id, limits, purge.wake)
        rpc.answer(documents.ACCEPT, acceptance.accept)
        rpc.answer(documents.ACCEPT_BATCH, acceptance.accept_batch)
        rpc.answer(documents.GET_DOCUMENT, reading.get)
        rpc.answer(documents.LIST_DOCUMENTS, reading.list)
        rpc.answer(documents.GET_CONTENT, reading.content)
        rpc.answer(documents.LIST_CHUNKS, reading.list_chunks)
        rpc.answer(documents.PATCH_DOCUMENT, changes.patch)
        rpc.answer(documents.DELETE_DOCUMENT, changes.delete)
        rpc.answer(documents.REINDEX, changes.reindex)
        rpc.answer(documents.INSPECT_INDEX, IndexInspection(database, inspection).inspect)
        _answer_for_jobs(rpc, jobs)
        rpc.answer(collection_contract.CREATE_COLLECTION, collections.create)
        rpc.answer(collection_contract.GET_COLLECTION, collections.get)
        rpc.answer(collection_contract.LIST_COLLECTIONS, collections.list)
        rpc.answer(collection_contract.UPDATE_COLLECTION, collections.update)
        rpc.answer(collection_contract.SETTINGS, collections.settings)
        rpc.answer(collection_contract.DELETE_COLLECTION, collections.delete)
        removal = TenantPurge(database, blobs, TenantPoints(client), lease_seconds=settings.job_lease_seconds)
        _answer_for_tenants(rpc, database, removal)

        commands = DurableConsumer(
            broker(settings, "quarry-indexer-commands"), INDEXER_COMMANDS, Commands(worker, purge).receive
        )
        relay = Relay(database, connection)
        answer_replays(rpc, OutboxService.INDEXER, database, relay)
        heartbeat = Heartbeat(connection, SERVICE, relay.lag_ms)
        yield Service(
            parts=[rpc, worker, purge, upkeep, relay, heartbeat, SilentSessions(database), commands],
            checks={
                "database": database.check,
                "message_bus": lambda: check(connection),
                "consumers": consumers_exist(connection, [INDEXER_COMMANDS]),
                "vector_index": index.check,
            },
        )


def _answer_for_jobs(rpc: RpcServer, jobs: Jobs) -> None:
    rpc.answer(job_contract.GET_JOB, jobs.get)
    rpc.answer(job_contract.LIST_JOBS, jobs.list)
    rpc.answer(job_contract.CANCEL_JOB, jobs.cancel)
    rpc.answer(job_contract.CANCEL_JOBS, jobs.cancel_all)
    rpc.answer(job_contract.RETRY_JOB, jobs.retry)
    rpc.answer(job_contract.LIST_DEAD_LETTERS, jobs.list_dead_letters)
    rpc.answer(job_contract.REPLAY_DEAD_LETTERS, jobs.replay)
    rpc.answer(job_contract.DISCARD_DEAD_LETTERS, jobs.discard)


def _answer_for_tenants(rpc: RpcServer, database: Database, removal: TenantPurge) -> None:
    reports = UsageReports(database)
    rpc.answer(usage_contract.INDEX_DAYS, reports.days)
    rpc.answer(usage_contract.STORED_NOW, reports.stored)
    rpc.answer(PURGE_DOCUMENTS, TenantPurging(removal).purge)
    rpc.answer(OWNERS_OF, Ownership(database).owners)


definition = ServiceDefinition(
    name=SERVICE,
    settings=IndexerSettings,
    build=build,
    migrations=files("quarry_indexer") / "migrations",
)
