"""One job, from its stored file to passages that searches find: fetch, parse, chunk, embed, index.

What is done is kept: the extracted text and the chunks once they are there, the points batch by batch.
Whoever takes the job over goes on from there. Every write asks for the lease token, so that a worker which
lost its lease changes nothing that counts.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
from opentelemetry.trace import Span

from quarry_common.blobs import BlobStore
from quarry_common.contracts.documents import JobState, Stage
from quarry_common.contracts.events import (
    DocumentIndexed,
    DocumentUpdated,
    JobCancelled,
    JobCompleted,
    JobStarted,
)
from quarry_common.embedding.bm25 import encode_document
from quarry_common.embedding.pool import EmbedderPool
from quarry_common.errors import NotFoundError
from quarry_common.messaging.outbox import publish_event
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_common.vectors.index import VectorIndex
from quarry_common.vectors.points import ChunkPoint
from quarry_indexer import SERVICE
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.domain.errors import FileMissingError, LeaseLostError
from quarry_indexer.domain.passage import embedded_text, keyword_text
from quarry_indexer.indexing.metrics import BATCH_SECONDS, CHUNKS
from quarry_indexer.parsing.extract import titled_document
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.preparation.protocol import ChunkedDocument
from quarry_indexer.repository import documents, jobs, versions
from quarry_indexer.repository.jobs import Lease
from quarry_indexer.repository.versions import ChunkRow, VersionRow

BATCH_CHUNKS = 32
EMBED_SECONDS = 120.0


class Prepared(msgspec.Struct, frozen=True):
    """A version that is parsed and chunked."""

    version: VersionRow
    text: str
    chunk_count: int


class Pipeline:
    """Leads one job at a time through its stages; any number may run side by side.

    `purge` is told when the version before may be removed; until then searches keep to the newest.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        index: VectorIndex,
        parser: ParserPool,
        embedder: EmbedderPool,
        options: ChunkOptions,
        purge: Callable[[], None],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._index = index
        self._parser = parser
        self._embedder = embedder
        self._options = options
        self._purge = purge

    async def run(self, lease: Lease) -> None:
        """Make the job's version searchable.

        Raises `LeaseLostError` when the job is no longer this worker's, and whatever stands in its way.
        """
        prepared = await self._prepare(lease)
        if prepared is None:
            return
        with _span("embed", lease) as span:
            span.set_attribute("chunk.count", prepared.chunk_count)
            await self._write_points(lease, prepared)
        with _span("activate", lease):
            await self._activate(lease, prepared)
        self._purge()

    async def _prepare(self, lease: Lease) -> Prepared | None:
        async with self._database.tenant_transaction(lease.tenant_id) as connection:
            _held(await jobs.advance(connection, lease, Stage.FETCH))
            version = await versions.find(connection, lease.document_id, lease.version)
            if version is None:
                await self._give_way(connection, lease)
                return None
            if lease.attempt == 1:
                started = JobStarted(lease.job_id, lease.document_id, lease.collection, lease.attempt)
                await publish_event(connection, started, service=SERVICE, tenant_id=lease.tenant_id)
        if lease.chunks_total is not None and version.text_path is not None:
            return Prepared(version, await self._blobs.get_text(version.text_path), lease.chunks_total)
        chunked = await self._parse(lease, version)
        await self._enter(lease, Stage.CHUNK)
        with _span("chunk", lease):
            return await self._save_chunks(lease, version, chunked)

    async def _parse(self, lease: Lease, version: VersionRow) -> ChunkedDocument:
        if version.blob_path is None:
            document = titled_document(version.title)
            chunks = chunk_document(document, self._options, self._embedder.embedder)
            return ChunkedDocument(document, tuple(chunks))
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            file = Path(folder) / "file"
            try:
                with _span("fetch", lease):
                    await self._blobs.fetch(version.blob_path, file)
            except NotFoundError as error:
                raise FileMissingError("The file of this version is not in the blob store.") from error
            await self._enter(lease, Stage.PARSE)
            with _span("parse", lease):
                return await self._parser.prepare(
                    file, version.file_name, version.declared_type or None, self._options
                )

    async def _save_chunks(self, lease: Lease, version: VersionRow, chunked: ChunkedDocument) -> Prepared:
        parsed = chunked.document
        rows = [
            ChunkRow(c.ordinal, list(c.heading_path), c.page, c.char_start, c.char_end, c.token_count)
            for c in chunked.chunks
        ]
        text_path = f"tenants/{lease.tenant_id}/texts/{lease.document_id}/{lease.version}.txt"
        await self._blobs.put_text(text_path, parsed.text)
        title = version.title or parsed.title or Path(version.file_name).stem
        doc_type = version.doc_type or parsed.doc_type
        async with self._database.tenant_transaction(lease.tenant_id) as connection:
            _held(await jobs.hold(connection, lease))
            await versions.save_chunks(connection, version, text_path, title, doc_type, rows)
            _held(await jobs.advance(connection, lease, Stage.EMBED, done=0, total=len(rows)))
        named = msgspec.structs.replace(version, title=title, doc_type=doc_type, text_path=text_path)
        return Prepared(named, parsed.text, len(rows))

    async def _write_points(self, lease: Lease, prepared: Prepared) -> None:
        """Embed and write the chunks that are not written yet."""
        done = lease.chunks_done if lease.chunks_total is not None else 0
        while done < prepared.chunk_count:
            with BATCH_SECONDS.time():
                async with self._database.tenant_transaction(lease.tenant_id) as connection:
                    rows = await versions.chunks(
                        connection, lease.document_id, lease.version, done, BATCH_CHUNKS
                    )
                await self._write_batch(prepared, rows)
                done += len(rows)
                await self._enter(lease, Stage.EMBED, done=done)
            CHUNKS.inc(len(rows))

    async def _write_batch(self, prepared: Prepared, rows: Sequence[ChunkRow]) -> None:
        version = prepared.version
        texts = [prepared.text[row.char_start : row.char_end] for row in rows]
        deadline = asyncio.get_running_loop().time() + EMBED_SECONDS
        embedded = [
            embedded_text(version.title, row.heading_path, text)
            for row, text in zip(rows, texts, strict=True)
        ]
        vectors = await self._embedder.embed(embedded, deadline=deadline)
        points = [
            _point(version, row, text, vector.tolist())
            for row, text, vector in zip(rows, texts, vectors, strict=True)
        ]
        await self._index.upsert_inactive(points)

    async def _activate(self, lease: Lease, prepared: Prepared) -> None:
        """Let searches find this version in place of the one before.

        The document's row is held throughout, so that a deletion or a newer version comes before or after.
        """
        tenant_id, document_id = lease.tenant_id, lease.document_id
        async with self._database.tenant_transaction(tenant_id) as connection:
            document = await documents.lock(connection, document_id)
            if document is None or document.deleted_at is not None:
                raise LeaseLostError
            _held(await jobs.advance(connection, lease, Stage.INDEX))
            current = document.current_version
            if current is not None and current > lease.version:
                await self._give_way(connection, lease)
                return
            await self._index.activate(tenant_id, document_id, lease.version)
            await versions.activate(connection, document_id, lease.version)
            await documents.set_current(connection, document_id, lease.version)
            await jobs.finish(connection, lease, JobState.SUCCEEDED)
            await self._tell(
                connection, lease, prepared, first=current is None, external_id=document.external_id
            )

    async def _give_way(self, connection: Connection, lease: Lease) -> None:
        """End the job of a version that a newer one has overtaken."""
        await versions.set_state(connection, lease.document_id, lease.version, "discarded")
        await jobs.finish(connection, lease, JobState.CANCELLED)
        cancelled = JobCancelled(lease.job_id, lease.document_id, lease.collection, lease.attempt)
        await publish_event(connection, cancelled, service=SERVICE, tenant_id=lease.tenant_id)

    async def _tell(
        self,
        connection: Connection,
        lease: Lease,
        prepared: Prepared,
        *,
        first: bool,
        external_id: str | None,
    ) -> None:
        kind = DocumentIndexed if first else DocumentUpdated
        event = kind(
            document_id=lease.document_id,
            job_id=lease.job_id,
            collection=lease.collection,
            external_id=external_id,
            version=lease.version,
            chunk_count=prepared.chunk_count,
        )
        completed = JobCompleted(
            lease.job_id, lease.document_id, lease.collection, lease.attempt, prepared.chunk_count
        )
        await publish_event(connection, event, service=SERVICE, tenant_id=lease.tenant_id)
        await publish_event(connection, completed, service=SERVICE, tenant_id=lease.tenant_id)

    async def _enter(self, lease: Lease, stage: Stage, *, done: int | None = None) -> None:
        async with self._database.tenant_transaction(lease.tenant_id) as connection:
            _held(await jobs.advance(connection, lease, stage, done=done))


def _held(held: bool) -> None:
    if not held:
        raise LeaseLostError


def _span(stage: str, lease: Lease) -> AbstractContextManager[Span]:
    return tracing.span(f"index {stage}", attributes={"document.id": str(lease.document_id)})


def _point(version: VersionRow, row: ChunkRow, text: str, dense: list[float]) -> ChunkPoint:
    return ChunkPoint(
        tenant_id=version.tenant_id,
        document_id=version.document_id,
        version=version.version,
        ordinal=row.ordinal,
        collection=version.collection,
        text=text,
        title=version.title,
        heading_path=row.heading_path,
        page=row.page,
        char_start=row.char_start,
        char_end=row.char_end,
        doc_type=version.doc_type or "text",
        tags=version.tags,
        metadata=version.metadata,
        external_id=version.external_id,
        source_url=version.source_url,
        allowed_principals=version.allowed_principals,
        created_at=version.created_at,
        updated_at=version.updated_at,
        dense=dense,
        sparse=encode_document(keyword_text(version.title, row.heading_path, text)),
    )
