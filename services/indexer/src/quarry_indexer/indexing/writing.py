"""From chunks to points that no search finds yet: embed, write, batch by batch. Batches are filled across
documents."""

from collections.abc import Sequence
from typing import NamedTuple

from quarry_common.contracts.jobs import Stage
from quarry_common.embedding.bm25 import encode_document
from quarry_common.embedding.protocol import Vectors
from quarry_common.postgres.pool import Database
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import ChunkPoint, DenseVector
from quarry_indexer.domain.passage import embedded_text, keyword_text
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.embedding import CachedEmbedder
from quarry_indexer.indexing.metrics import BATCH_SECONDS, CHUNKS
from quarry_indexer.indexing.passages import Passage
from quarry_indexer.indexing.progress import tell
from quarry_indexer.indexing.reading import Prepared
from quarry_indexer.repository import leases
from quarry_indexer.repository.leases import Progress

BATCH_CHUNKS = 32


class _Part(NamedTuple):
    """Neighbouring passages of one version, in a batch."""

    prepared: Prepared
    passages: Sequence[Passage]

    @property
    def done(self) -> int:
        """Chunks of the version that are in the index once this part is."""
        return self.passages[-1].chunk.ordinal + 1


class Writer:
    """Embeds and writes the chunks of jobs."""

    def __init__(self, database: Database, index: VectorIndex, embedder: CachedEmbedder) -> None:
        self._database = database
        self._index = index
        self._embedder = embedder

    async def write(self, bundle: Bundle, documents: Sequence[Prepared]) -> None:
        """Write the chunks that are not written yet; what is written is recorded after each batch.

        Raises `YieldedError` between batches when another tenant waits, `LeaseLostError`, and what embedder
        and stores raise.
        """
        batch: list[_Part] = []
        size = 0
        for prepared in documents:
            position = prepared.chunks_done
            while position < prepared.chunk_count and prepared.lease.job_id in bundle.members:
                if size == BATCH_CHUNKS:
                    await self._write(bundle, batch)
                    batch, size = [], 0
                    bundle.make_way()
                    continue
                passages = await prepared.passages.read(
                    position, min(BATCH_CHUNKS - size, prepared.chunk_count - position)
                )
                if not passages:
                    raise RuntimeError(f"chunk {position} of {prepared.chunk_count} is missing")
                batch.append(_Part(prepared, passages))
                size += len(passages)
                position += len(passages)
        if batch:
            await self._write(bundle, batch)

    async def _write(self, bundle: Bundle, batch: Sequence[_Part]) -> None:
        with BATCH_SECONDS.time():
            texts = [
                embedded_text(prepared.version.title, passage.chunk.heading_path, passage.text)
                for prepared, passages in batch
                for passage in passages
            ]
            vectors = await self._embedder.embed(bundle.tenant_id, texts)
            await self._index.upsert_inactive(_points(batch, vectors))
            progress = {
                part.prepared.lease.job_id: Progress(
                    part.prepared.lease.job_id, part.done, part.prepared.chunk_count
                )
                for part in batch
                if part.prepared.lease.job_id in bundle.members
            }
            async with self._database.tenant_transaction(bundle.tenant_id) as connection:
                held = await leases.advance(connection, bundle.token, list(progress.values()), Stage.EMBED)
                bundle.keep(held | (bundle.members.keys() - progress.keys()))
                counts = {job_id: (each.chunks_done, each.chunks_total) for job_id, each in progress.items()}
                await tell(connection, bundle, Stage.EMBED, counts)
        CHUNKS.inc(len(texts))


def _points(batch: Sequence[_Part], vectors: Vectors) -> list[ChunkPoint]:
    placed = [(prepared, passage) for prepared, passages in batch for passage in passages]
    return [
        _point(prepared, passage, vector) for (prepared, passage), vector in zip(placed, vectors, strict=True)
    ]


def _point(prepared: Prepared, passage: Passage, dense: DenseVector) -> ChunkPoint:
    version, chunk = prepared.version, passage.chunk
    return ChunkPoint(
        tenant_id=version.tenant_id,
        document_id=version.document_id,
        version=version.version,
        ordinal=chunk.ordinal,
        collection=version.collection,
        text=passage.text,
        title=version.title,
        heading_path=list(chunk.heading_path),
        page=chunk.page,
        char_start=chunk.char_start,
        char_end=chunk.char_end,
        doc_type=version.doc_type or "text",
        tags=version.tags,
        metadata=version.metadata,
        external_id=version.external_id,
        source_url=version.source_url,
        allowed_principals=version.allowed_principals,
        created_at=version.created_at,
        updated_at=version.updated_at,
        dense=dense,
        sparse=encode_document(
            keyword_text(version.title, chunk.heading_path, passage.text),
            title=version.title,
            title_boost=version.indexing.title_boost,
        ),
    )
