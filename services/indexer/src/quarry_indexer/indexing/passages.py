"""The passages of a version, batch by batch: from memory when the document is small, else from the stores."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from quarry_common.blobs import TenantBlobs
from quarry_common.postgres.pool import Database
from quarry_indexer.chunking.chunk import Chunk
from quarry_indexer.repository import chunks
from quarry_indexer.repository.versions import VersionRow


class Passage(NamedTuple):
    """A chunk and its text."""

    chunk: Chunk
    text: str


class Passages(Protocol):
    """Where the passages of one version come from."""

    async def read(self, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages in order, from ordinal `first` on."""


class InMemory:
    """Passages of a small text that was just read."""

    def __init__(self, text: bytes, found: Sequence[Chunk]) -> None:
        self._text = text
        self._chunks = found

    async def read(self, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages in order, from ordinal `first` on."""
        part = self._chunks[first : first + limit]
        return [Passage(chunk, self._text[chunk.byte_start : chunk.byte_end].decode()) for chunk in part]


class Stored:
    """Passages from Postgres and the blob store; of the text only what a batch needs is read."""

    def __init__(self, database: Database, blobs: TenantBlobs, version: VersionRow) -> None:
        self._database = database
        self._blobs = blobs
        self._version = version

    async def read(self, first: int, limit: int) -> list[Passage]:
        """Return up to `limit` passages in order, from ordinal `first` on.

        Raises `UnavailableError`, and `NotFoundError` when the text is gone.
        """
        version = self._version
        async with self._database.tenant_transaction(version.tenant_id) as connection:
            part = await chunks.page(connection, version.document_id, version.version, first, limit)
        if not part:
            return []
        return await read_passages(self._blobs, version.text_path or "", part)


async def read_passages(blobs: TenantBlobs, text_path: str, part: Sequence[Chunk]) -> list[Passage]:
    """Return neighbouring chunks with their texts, read in one piece. Raises as `TenantBlobs.get_range`."""
    start, end = min(chunk.byte_start for chunk in part), max(chunk.byte_end for chunk in part)
    text = await blobs.get_range(text_path, start, end)
    return [
        Passage(chunk, text[chunk.byte_start - start : chunk.byte_end - start].decode()) for chunk in part
    ]
