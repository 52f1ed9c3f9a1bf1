"""Chunks in the index without an ingest: as many as wanted, distinct, through `quarry_common.vectors`."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import httpx
import numpy as np
from benchmarks.texts import Writer
from tests.platform import Platform

from quarry_common.embedding.bm25 import encode_document
from quarry_common.embedding.protocol import Embedder, Vectors
from quarry_common.vectors.fusion import LEG_LIMIT
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import DENSE, ChunkPoint
from quarry_common.vectors.schema import collection_name

CHUNK_WORDS: Final = 130
CHUNKS_PER_DOCUMENT: Final = 100
REAL_VECTORS: Final = 600
REAL_WORDS: Final = 24
OPTIMISE_SECONDS: Final = 900.0
AGAIN_SECONDS: Final = 1.0
"""Before a run that was given up is asked for once more, until `OPTIMISE_SECONDS` are over."""
TOLD_EVERY: Final = 20_000
RECALL_QUERIES: Final = 300

Tell = Callable[[str], None]


class Filler:
    """Writes chunks of generated texts with keyword vectors of their own.

    Embedding a hundred thousand texts would take most of an hour. Some are embedded, and the dense vectors of
    the others lie between two of those, so that no two are alike and topics stay together.
    """

    def __init__(self, writer: Writer, embedder: Embedder) -> None:
        self._writer = writer
        self._embedder = embedder
        self._random = np.random.default_rng(3)
        self._chunks: dict[UUID, int] = {}
        """Of each tenant."""
        self._topics = [writer.topic() for _ in range(REAL_VECTORS)]
        self._real = embedder.embed([writer.text(topic, REAL_WORDS) for topic in self._topics])

    async def fill(self, platform: Platform, tenants: Sequence[UUID], chunks: int, tell: Tell) -> None:
        """Write `chunks` in all, the same number to each of `tenants`, and let the index optimise them."""
        async with platform.index(self._embedder.id, self._embedder.dimensions) as index:
            written = 0
            for tenant_id in tenants:
                left = chunks // len(tenants)
                while left:
                    count = min(CHUNKS_PER_DOCUMENT, left)
                    await self._document(index, tenant_id, count)
                    left -= count
                    written += count
                    if written % TOLD_EVERY < CHUNKS_PER_DOCUMENT:
                        tell(f"{written} of {chunks} chunks are in the index")
                self._chunks[tenant_id] = self._chunks.get(tenant_id, 0) + chunks // len(tenants)
                await _complete(index, tenant_id, self._chunks[tenant_id])
            await optimised(platform, index.collection, tell)

    def likely(self) -> Vectors:
        """Return `RECALL_QUERIES` query vectors that lie between embedded texts."""
        return np.concatenate(
            [
                self._vectors(int(topic), 1)
                for topic in self._random.integers(REAL_VECTORS, size=RECALL_QUERIES)
            ]
        )

    @property
    def collection(self) -> str:
        """Name of the collection that holds the chunks."""
        return collection_name(self._embedder.id)

    async def _document(self, index: VectorIndex, tenant_id: UUID, count: int) -> None:
        document, topic = uuid4(), int(self._random.integers(REAL_VECTORS))
        dense = self._vectors(topic, count)
        points = [
            _point(
                tenant_id,
                document,
                ordinal,
                self._writer.text(self._topics[topic], CHUNK_WORDS),
                dense[ordinal],
            )
            for ordinal in range(count)
        ]
        await index.upsert_inactive(points)
        await index.activate(tenant_id, [(document, 1)])

    def _vectors(self, topic: int, count: int) -> Vectors:
        """Return vectors between an embedded text of the topic and other embedded texts."""
        others = self._real[self._random.integers(len(self._real), size=count)]
        share = self._random.uniform(0.05, 0.45, size=(count, 1)).astype(np.float32)
        mixed = (1 - share) * self._real[topic] + share * others
        unit: Vectors = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
        return unit


def dense_leg(vector: list[float], tenant_id: UUID) -> dict[str, object]:
    """Return a query for the ten nearest chunks of a tenant that searches see."""
    tenant = {"key": "tenant_id", "match": {"value": str(tenant_id)}}
    return {
        "query": vector,
        "using": DENSE,
        "limit": 10,
        "filter": {"must": [tenant, {"key": "active", "match": {"value": 1}}]},
    }


async def recall(platform: Platform, tenants: Sequence[UUID], filler: Filler) -> float:
    """Return how much of the ten nearest chunks by exact search the dense leg finds, on average."""
    shares = []
    url = f"{platform.plan.shared['QDRANT_URL']}/collections/{filler.collection}/points/query/batch"
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        for number, vector in enumerate(filler.likely()):
            leg = dense_leg(vector.tolist(), tenants[number % len(tenants)])
            # As searches ask for it: never fewer than two hundred, of which ten are compared.
            found = leg | {"limit": LEG_LIMIT, "params": {"hnsw_ef": LEG_LIMIT}}
            asked = {"searches": [leg | {"params": {"exact": True}}, found]}
            exact, near = (await client.post(url, json=asked)).raise_for_status().json()["result"]
            wanted = {point["id"] for point in exact["points"]}
            shares.append(len(wanted & {point["id"] for point in near["points"][:10]}) / len(wanted))
    return sum(shares) / len(shares)


async def optimised(platform: Platform, collection: str, tell: Tell) -> None:
    """Return when the engine has built its graphs over what there is."""
    tell("the index is being optimised")
    url = f"{platform.plan.shared['QDRANT_URL']}/collections/{collection}/optimize"
    async with asyncio.timeout(OPTIMISE_SECONDS), httpx.AsyncClient(timeout=None, trust_env=False) as client:
        while True:
            answer = (await client.post(url)).raise_for_status().json()["result"]
            if answer["result"] == "done":
                tell(f"optimised in {answer['seconds']:.0f} s")
                return
            tell(f"optimising was given up ({answer['result']}); once more")
            await asyncio.sleep(AGAIN_SECONDS)


async def _complete(index: VectorIndex, tenant_id: UUID, chunks: int) -> None:
    found = await index.count(tenant_id, active=True)
    if found != chunks:
        raise RuntimeError(f"the index holds {found} chunks of {chunks}")


def _point(tenant_id: UUID, document: UUID, ordinal: int, text: str, dense: Vectors) -> ChunkPoint:
    now = datetime.now(UTC)
    return ChunkPoint(
        tenant_id=tenant_id,
        document_id=document,
        version=1,
        ordinal=ordinal,
        collection="default",
        text=text,
        title="A generated document",
        heading_path=[],
        page=None,
        char_start=0,
        char_end=len(text),
        doc_type="text",
        tags=["generated"],
        metadata={"part": ordinal},
        external_id=str(document),
        source_url=None,
        allowed_principals=None,
        created_at=now,
        updated_at=now,
        dense=dense,
        sparse=encode_document(text),
    )
