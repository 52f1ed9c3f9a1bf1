"""The search service on real servers with the real embedder, asked over NATS as the gateway does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from quarry_common.contracts.search import QUERY, Answer, Query
from quarry_common.contracts.streams import SEARCHES
from quarry_common.embedding import bm25
from quarry_common.embedding.load import load_embedder
from quarry_common.embedding.protocol import Embedder
from quarry_common.errors import UnavailableError
from quarry_common.messaging.broker import connect
from quarry_common.messaging.provision import provision
from quarry_common.messaging.rpc import RpcClient
from quarry_common.service import serve
from quarry_common.settings import load
from quarry_common.vectors import connection
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import ChunkPoint
from quarry_local.ports import free_port
from quarry_local.servers import nats
from quarry_local.testing import PASSWORD, StartServer
from quarry_search.service import build
from quarry_search.settings import SearchSettings

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Search:
    """What a test may do as one tenant: store passages, ask for them."""

    def __init__(self, rpc: RpcClient, index: VectorIndex, embedder: Embedder, tenant_id: UUID) -> None:
        self.rpc = rpc
        self.index = index
        self.embedder = embedder
        self.tenant_id = tenant_id

    async def store(self, *texts: str, active: bool = True, **given: Any) -> list[ChunkPoint]:
        """Store each text as a document, or all as one document's chunks when `document_id` is given."""
        vectors = self.embedder.embed(texts)
        fields: dict[str, Any] = {
            "version": 1,
            "collection": "default",
            "title": "Title",
            "heading_path": ["Part"],
            "page": None,
            "char_start": 0,
            "doc_type": "txt",
            "tags": [],
            "metadata": {},
            "external_id": None,
            "source_url": None,
            "allowed_principals": None,
            "created_at": MOMENT,
            "updated_at": MOMENT,
            **given,
        }
        chunks = [
            ChunkPoint(
                tenant_id=self.tenant_id,
                document_id=fields.get("document_id") or uuid4(),
                ordinal=place if "document_id" in fields else 0,
                text=text,
                char_end=len(text),
                dense=vector,
                sparse=bm25.encode_document(text, 8.0),
                **{name: value for name, value in fields.items() if name != "document_id"},
            )
            for place, (text, vector) in enumerate(zip(texts, vectors, strict=True))
        ]
        await self.index.upsert_inactive(chunks)
        if active:
            for document, version in {(chunk.document_id, chunk.version) for chunk in chunks}:
                await self.index.activate(self.tenant_id, [(document, version)])
        return chunks

    async def ask(self, query: str, **options: Any) -> Answer:
        """Return the service's answer."""
        return await self.rpc.call(QUERY, Query(self.tenant_id, query, **options), timeout_seconds=10)

    async def texts(self, query: str, **options: Any) -> list[str]:
        """Return the texts that the service finds, best first."""
        return [result.text for result in (await self.ask(query, **options)).results]


@pytest.fixture(scope="session")
def settings(
    server_folder: Path, start_server: StartServer, qdrant_url: str, redis_url: str
) -> SearchSettings:
    # A bus of its own: on the session's the indexer of other tests may tell how its outbox is.
    port = free_port()
    start_server(nats.program(server_folder / "nats-of-search", port, PASSWORD))
    given = {"NATS_URL": nats.url(port, PASSWORD), "QDRANT_URL": qdrant_url, "REDIS_URL": redis_url}
    return load(SearchSettings, given)


@pytest.fixture(scope="session")
async def service(settings: SearchSettings) -> AsyncIterator[tuple[RpcClient, VectorIndex, Embedder]]:
    embedder = await asyncio.to_thread(load_embedder, settings)
    stopping = asyncio.Event()
    async with (
        connect(settings, "test") as bus,
        connection.connect(settings) as client,
        build(settings) as built,
    ):
        await provision(bus.jetstream(), [SEARCHES], [], replicas=1)
        index = VectorIndex(client, settings, embedder_id=embedder.id, dimensions=embedder.dimensions)
        await index.ensure()
        task = asyncio.create_task(serve(built, settings, stopping))
        try:
            rpc = RpcClient(bus)
            await answers(rpc)
            yield rpc, index, embedder
        finally:
            stopping.set()
            await task


async def answers(rpc: RpcClient) -> None:
    """Wait until the service answers."""
    async with asyncio.timeout(10):
        while True:
            try:
                await rpc.call(QUERY, Query(uuid4(), "is anybody there"))
            except UnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


@pytest.fixture
def search(service: tuple[RpcClient, VectorIndex, Embedder]) -> Search:
    return Search(*service, uuid4())


@pytest.fixture(scope="session")
async def library(service: tuple[RpcClient, VectorIndex, Embedder]) -> Search:
    """Return a tenant that holds some passages in several languages; tests only read it."""
    made = Search(*service, uuid4())
    await made.store(*PASSAGES)
    return made


PASSAGES = (
    "The centrifugal pump lost pressure because its impeller was worn.",
    "Employees may take thirty days of paid leave each year.",
    "The court dismissed the appeal for lack of evidence.",
    "Error ERR-1042 is raised by read_config when the file is missing.",
    "Die Kündigungsfrist des Mietvertrags beträgt drei Monate zum Quartalsende.",
    "Die Versicherungen zahlen bei Hagelschäden am Fahrzeug.",
    "दिल्ली भारत की राजधानी है और यमुना नदी के किनारे बसी है।",
    "किसानों ने इस वर्ष गेहूँ की अच्छी फसल काटी।",
    "東京都は日本の首都であり、人口が最も多い。",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
)
