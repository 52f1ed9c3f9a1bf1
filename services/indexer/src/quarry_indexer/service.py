"""The indexer put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files

from quarry_common.blobs import open_store
from quarry_common.contracts import documents as contract
from quarry_common.contracts.streams import INDEXER_COMMANDS
from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.messaging.broker import broker, check, connect
from quarry_common.messaging.consumer import DurableConsumer
from quarry_common.messaging.outbox import Relay
from quarry_common.messaging.rpc import RpcServer
from quarry_common.messaging.watchdog import consumers_exist
from quarry_common.postgres.pool import connect_pool
from quarry_common.service import Service, ServiceDefinition
from quarry_common.vectors.connection import connect as connect_qdrant
from quarry_common.vectors.index import VectorIndex
from quarry_indexer import SERVICE
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.handlers.acceptance import Acceptance
from quarry_indexer.handlers.collections import Collections
from quarry_indexer.handlers.commands import Commands
from quarry_indexer.handlers.documents import Documents
from quarry_indexer.indexing.pipeline import Pipeline
from quarry_indexer.indexing.purge import Purge
from quarry_indexer.indexing.worker import Worker
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.settings import IndexerSettings


@asynccontextmanager
async def build(settings: IndexerSettings) -> AsyncIterator[Service]:
    """Open what the indexer needs, yield it, and close all."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connect(settings, "quarry-indexer"))
        database = await stack.enter_async_context(connect_pool(settings, SERVICE))
        parser = await stack.enter_async_context(ParserPool(settings))
        local = load_embedder(settings)
        embedder = EmbedderPool(local, max_waiting=settings.embedder_max_waiting)
        stack.push_async_callback(embedder.close)
        client = await stack.enter_async_context(connect_qdrant(settings))
        index = VectorIndex(client, settings, embedder_id=local.id, dimensions=local.dimensions)
        blobs = open_store(settings)

        options = ChunkOptions(max_tokens=settings.chunk_tokens, overlap_tokens=settings.chunk_overlap_tokens)
        purge = Purge(database, blobs, index)
        pipeline = Pipeline(database, blobs, index, parser, embedder, options, purge.wake)
        worker = Worker(
            database,
            pipeline,
            concurrency=settings.indexer_concurrency,
            lease_seconds=settings.job_lease_seconds,
        )

        rpc = RpcServer(connection, SERVICE, settings.indexer_rpc_concurrency)
        acceptance = Acceptance(database, blobs, local.id, worker.wake)
        documents = Documents(database, index, purge.wake)
        collections = Collections(database, index, local.id, purge.wake)
        rpc.answer(contract.ACCEPT, acceptance.accept)
        rpc.answer(contract.GET_DOCUMENT, documents.get)
        rpc.answer(contract.LIST_DOCUMENTS, documents.list)
        rpc.answer(contract.DELETE_DOCUMENT, documents.delete)
        rpc.answer(contract.GET_JOB, documents.get_job)
        rpc.answer(contract.LIST_JOBS, documents.list_jobs)
        rpc.answer(contract.CREATE_COLLECTION, collections.create)
        rpc.answer(contract.GET_COLLECTION, collections.get)
        rpc.answer(contract.LIST_COLLECTIONS, collections.list)
        rpc.answer(contract.DELETE_COLLECTION, collections.delete)

        commands = DurableConsumer(
            broker(settings, "quarry-indexer-commands"), INDEXER_COMMANDS, Commands(worker, purge).receive
        )
        yield Service(
            parts=[rpc, worker, purge, Relay(database, connection), commands],
            checks={
                "database": database.check,
                "message_bus": lambda: check(connection),
                "consumers": consumers_exist(connection, [INDEXER_COMMANDS]),
                "vector_index": index.check,
            },
        )


definition = ServiceDefinition(
    name=SERVICE,
    settings=IndexerSettings,
    build=build,
    migrations=files("quarry_indexer") / "migrations",
)
