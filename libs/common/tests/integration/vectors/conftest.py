from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from quarry_common.embedding import bm25
from quarry_common.settings import QdrantSettings, load
from quarry_common.vectors.connection import Qdrant, connect
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import ChunkPoint

DIMENSIONS = 4
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)

MakeChunk = Callable[..., ChunkPoint]


def make_chunk(tenant_id: UUID, **given: Any) -> ChunkPoint:
    """Return a chunk whose vectors follow from its text unless they are given."""
    text = given.pop("text", "a plain passage")
    fields: dict[str, Any] = {
        "tenant_id": tenant_id,
        "document_id": uuid4(),
        "version": 1,
        "ordinal": 0,
        "collection": "default",
        "text": text,
        "title": "A title",
        "heading_path": ["One", "Two"],
        "page": 3,
        "char_start": 10,
        "char_end": 20,
        "doc_type": "md",
        "tags": [],
        "metadata": {},
        "external_id": None,
        "source_url": None,
        "allowed_principals": None,
        "created_at": MOMENT,
        "updated_at": MOMENT,
        "dense": [1.0, 0.0, 0.0, 0.0],
        "sparse": bm25.encode_document(text, 10.0),
    }
    return ChunkPoint(**{**fields, **given})


@pytest.fixture(scope="session")
def settings(qdrant_url: str) -> QdrantSettings:
    return load(QdrantSettings, {"QDRANT_URL": qdrant_url})


@pytest.fixture(scope="session")
async def qdrant(settings: QdrantSettings) -> AsyncIterator[Qdrant]:
    async with connect(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
async def index(qdrant: Qdrant, settings: QdrantSettings) -> VectorIndex:
    made = VectorIndex(qdrant, settings, embedder_id="four@dimensions", dimensions=DIMENSIONS)
    await made.ensure()
    return made


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


@pytest.fixture
def chunk(tenant: UUID) -> MakeChunk:
    return lambda **given: make_chunk(given.pop("tenant_id", tenant), **given)


@pytest.fixture
def add(index: VectorIndex, chunk: MakeChunk) -> Callable[..., Any]:
    """Return a function that makes a chunk, stores it and activates it."""

    async def added(**given: Any) -> ChunkPoint:
        made = chunk(**given)
        await index.upsert_inactive([made])
        await index.activate(made.tenant_id, [(made.document_id, made.version)])
        return made

    return added
