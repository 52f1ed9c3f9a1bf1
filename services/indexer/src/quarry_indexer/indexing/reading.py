"""From stored files to text and chunks: fetch, parse, chunk. What is found is kept, so that whoever takes a
job over goes on from there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from quarry_common.blobs import BlobStore, TenantBlobs, folder_of
from quarry_common.contracts.events import JobStarted
from quarry_common.contracts.jobs import Stage
from quarry_common.embedding.tokenizer import load_local_tokenizer
from quarry_common.errors import NotFoundError
from quarry_common.messaging.outbox import Message, publish
from quarry_common.postgres.pool import Connection, Database
from quarry_common.telemetry import tracing
from quarry_common.vectors.index import VersionKey
from quarry_indexer import SERVICE
from quarry_indexer.chunking.chunk import Chunk, ChunkOptions
from quarry_indexer.chunking.chunker import chunk_document
from quarry_indexer.domain.collection_settings import Indexing
from quarry_indexer.domain.errors import FileMissingError, LeaseLostError
from quarry_indexer.indexing.bundle import Bundle
from quarry_indexer.indexing.giving_way import give_way
from quarry_indexer.indexing.passages import InMemory, Passages, Stored
from quarry_indexer.indexing.progress import tell
from quarry_indexer.indexing.together import together
from quarry_indexer.parsing.extract import titled_document
from quarry_indexer.preparation.pool import ParserPool
from quarry_indexer.preparation.prepared import PreparedDocument
from quarry_indexer.repository import chunks, leases, versions
from quarry_indexer.repository.chunks import VersionChunks
from quarry_indexer.repository.leases import Lease, Progress
from quarry_indexer.repository.versions import Parsed, VersionRow

SMALL_TEXT_BYTES = 256 * 1024
"""A text up to this size is kept in memory until its chunks are indexed."""
READ_AT_ONCE = 4


class Prepared(msgspec.Struct, frozen=True):
    """A version that is parsed and chunked."""

    lease: Lease
    version: VersionRow
    chunk_count: int
    chunks_done: int
    """Chunks that are in the index already."""
    passages: Passages


class _Read(msgspec.Struct, frozen=True):
    """What reading one file found; a large one's text and chunks are in the stores already."""

    lease: Lease
    version: VersionRow
    found: Parsed
    said: str
    small: tuple[bytes, Sequence[Chunk]] | None


class Reader:
    """Reads the files of jobs."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        parser: ParserPool,
        options: ChunkOptions,
        *,
        fair: bool = True,
    ) -> None:
        """Read with `parser`; with `fair` tenants take turns at it. Collections that do not say how their
        documents are cut have them cut by `options`."""
        self._fair = fair
        self._database = database
        self._blobs = blobs
        self._parser = parser
        self._options = options
        self._tokens = load_local_tokenizer()

    async def prepare(self, bundle: Bundle) -> list[Prepared]:
        """Return the bundle's versions once they are parsed and chunked.

        A document that cannot be read fails alone. Raises `LeaseLostError`, and what the stores raise.
        """
        found = await self._begin(bundle)
        prepared, fresh = [], []
        for lease in bundle.members.values():
            version = found[lease.document_id, lease.version]
            if lease.chunks_total is not None and version.text_path is not None:
                stored = Stored(self._database, self._blobs.of(bundle.tenant_id), version)
                prepared.append(Prepared(lease, version, lease.chunks_total, lease.chunks_done, stored))
            else:
                fresh.append((lease, version))
        return prepared + await self._read_all(bundle, fresh)

    async def _begin(self, bundle: Bundle) -> dict[VersionKey, VersionRow]:
        # A bundle of small documents is read at once; of a large one each stage is told.
        stage = Stage.FETCH if len(bundle.members) == 1 else Stage.PARSE
        async with self._database.tenant_transaction(bundle.tenant_id) as connection:
            bundle.keep(await leases.enter(connection, bundle.token, bundle.job_ids, stage))
            found = await versions.find(
                connection, [(lease.document_id, lease.version) for lease in bundle.members.values()]
            )
            gone = [
                lease for lease in bundle.members.values() if (lease.document_id, lease.version) not in found
            ]
            await give_way(connection, bundle, gone)
            started = [
                Message(
                    JobStarted(lease.job_id, lease.document_id, lease.collection, lease.attempt),
                    lease.traceparent,
                )
                for lease in bundle.members.values()
                # Who made way goes on in the same attempt, with its text read.
                if lease.attempt == 1 and lease.chunks_total is None
            ]
            await publish(connection, started, service=SERVICE, tenant_id=bundle.tenant_id)
        return found

    async def _read_all(self, bundle: Bundle, fresh: Sequence[tuple[Lease, VersionRow]]) -> list[Prepared]:
        slots = asyncio.Semaphore(READ_AT_ONCE)

        async def read(lease: Lease, version: VersionRow) -> _Read | None:
            async with slots:
                if lease.job_id not in bundle.members:
                    return None
                try:
                    return await self._read(bundle, lease, version)
                except LeaseLostError:
                    bundle.lose([lease.job_id])
                except Exception as error:  # noqa: BLE001 - it concerns this document; the others go on
                    await bundle.fail(lease, error)
            return None

        found = await together(read(lease, version) for lease, version in fresh)
        done = [each for each in found if each is not None]
        if done:
            async with self._database.tenant_transaction(bundle.tenant_id) as connection:
                await self._keep(connection, bundle, done)
        return [
            _prepared(self._database, self._blobs.of(bundle.tenant_id), each)
            for each in done
            if each.lease.job_id in bundle.members
        ]

    async def _read(self, bundle: Bundle, lease: Lease, version: VersionRow) -> _Read:
        if version.blob_path is None:
            document = titled_document(version.title)
            options = chunk_options(version.indexing, self._options)
            made = chunk_document(document, options, self._tokens)
            read = _Read(
                lease,
                version,
                _parsed(version, "", document.doc_type, len(made)),
                "a title alone",
                (document.text.encode(), made),
            )
            await self._blobs.of(bundle.tenant_id).put_bytes(read.found.text_path, document.text.encode())
            return read
        where = {"document.id": str(lease.document_id)}
        try:
            async with AsyncExitStack() as stack:
                with tracing.span("index fetch", attributes=where):
                    file = await stack.enter_async_context(
                        self._blobs.of(bundle.tenant_id).local_copy(version.blob_path)
                    )
                if len(bundle.members) == 1:
                    await self._enter(bundle, Stage.PARSE)
                with tracing.span("index parse", attributes=where):
                    return await self._parse(bundle, lease, version, file)
        except NotFoundError as error:
            raise FileMissingError("The file of this version is not in the blob store.") from error

    async def _parse(self, bundle: Bundle, lease: Lease, version: VersionRow, file: Path) -> _Read:
        async with self._parser.prepare(
            file,
            version.file_name,
            version.declared_type or None,
            chunk_options(version.indexing, self._options),
            owner=str(lease.tenant_id) if self._fair else "",
            alone=lease.alone,
        ) as document:
            found = _parsed(version, document.title, document.doc_type, document.chunk_count)
            said = _said(document)
            if document.text_bytes <= SMALL_TEXT_BYTES:
                text = b"".join([piece async for piece in document.text()])
                made = [chunk async for page in document.chunks() for chunk in page]
                await self._blobs.of(bundle.tenant_id).put_bytes(found.text_path, text)
                return _Read(lease, version, found, said, (text, made))
            await self._blobs.of(bundle.tenant_id).put_stream(
                found.text_path, document.text(), max_bytes=document.text_bytes
            )
            await self._enter(bundle, Stage.CHUNK)
            await self._store(bundle, lease, document.chunks())
            return _Read(lease, version, found, said, None)

    async def _store(self, bundle: Bundle, lease: Lease, pages: AsyncIterator[list[Chunk]]) -> None:
        """Store a large document's chunks page by page, each only as long as the lease is held."""
        key = (lease.document_id, lease.version)
        first = True
        async for page in pages:
            async with self._database.tenant_transaction(lease.tenant_id) as connection:
                held = await leases.enter(connection, bundle.token, [lease.job_id], Stage.CHUNK)
                if not held:
                    raise LeaseLostError
                await tell(connection, bundle, Stage.CHUNK, {lease.job_id: (0, None)})
                if first:
                    await chunks.clear(connection, [key])
                await chunks.add(connection, lease.tenant_id, [VersionChunks(*key, page)])
            first = False

    async def _keep(self, connection: Connection, bundle: Bundle, done: Sequence[_Read]) -> None:
        """Record what was read, of small documents with their chunks."""
        progress = [Progress(each.lease.job_id, 0, each.found.chunk_count, each.said) for each in done]
        bundle.keep(
            await leases.advance(connection, bundle.token, progress, Stage.EMBED)
            | {job_id for job_id in bundle.members if job_id not in {p.job_id for p in progress}}
        )
        kept = [each for each in done if each.lease.job_id in bundle.members]
        small = [each for each in kept if each.small is not None]
        await chunks.clear(connection, [(each.found.document_id, each.found.version) for each in small])
        await chunks.add(
            connection,
            bundle.tenant_id,
            [
                VersionChunks(each.found.document_id, each.found.version, each.small[1])
                for each in small
                if each.small is not None
            ],
        )
        await versions.parsed(connection, [each.found for each in kept])

    async def _enter(self, bundle: Bundle, stage: Stage) -> None:
        async with self._database.tenant_transaction(bundle.tenant_id) as connection:
            bundle.keep(await leases.enter(connection, bundle.token, bundle.job_ids, stage))
            known = {each.job_id: (each.chunks_done, each.chunks_total) for each in bundle.members.values()}
            await tell(connection, bundle, stage, known)


def chunk_options(indexing: Indexing, platform: ChunkOptions) -> ChunkOptions:
    """Return how the documents of a collection are cut: where it does not say, as the `platform` does.

    The platform's overlap is shortened to less than half of smaller chunks.
    """
    if indexing.chunk_tokens is None and indexing.chunk_overlap is None:
        return platform
    tokens = indexing.chunk_tokens or platform.max_tokens
    overlap = platform.overlap_tokens if indexing.chunk_overlap is None else indexing.chunk_overlap
    return ChunkOptions(tokens, min(overlap, (tokens - 1) // 2))


def _parsed(version: VersionRow, title: str, doc_type: str, chunk_count: int) -> Parsed:
    return Parsed(
        document_id=version.document_id,
        version=version.version,
        text_path=f"{folder_of(version.tenant_id)}/texts/{version.document_id}/{version.version}.txt",
        title=version.title or title or Path(version.file_name).stem,
        doc_type=version.doc_type or doc_type,
        chunk_count=chunk_count,
        indexing=version.indexing,
    )


def _said(document: PreparedDocument) -> str:
    pages = f"{document.page_count} pages, " if document.page_count else ""
    return (
        f"read as {document.doc_type}: {pages}{document.text_characters} characters, "
        f"{document.chunk_count} chunks"
    )


def _prepared(database: Database, blobs: TenantBlobs, read: _Read) -> Prepared:
    found = read.found
    named = msgspec.structs.replace(
        read.version, title=found.title, doc_type=found.doc_type, text_path=found.text_path
    )
    passages: Passages = InMemory(*read.small) if read.small else Stored(database, blobs, named)
    return Prepared(read.lease, named, found.chunk_count, 0, passages)
