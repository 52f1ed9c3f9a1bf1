"""A chunk of a document as a point, and a point as the passage that a search shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from quarry_common.contracts.documents import Metadata
from quarry_common.embedding.bm25 import SparseVector
from quarry_common.ids import chunk_id_for
from quarry_common.vectors import codes

DENSE = "dense"
SPARSE = "bm25"

DenseVector = Sequence[float] | NDArray[np.float32]

_ESCAPES = {"%": "%25", '"': "%22"}


class ChunkPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk with all that a search shows and filters by, and its two vectors."""

    tenant_id: UUID
    document_id: UUID
    version: int
    ordinal: int
    """Place among the version's chunks, from 0."""
    collection: str
    text: str
    title: str
    heading_path: list[str]
    page: int | None
    char_start: int
    char_end: int
    doc_type: str | None
    tags: list[str]
    metadata: Metadata
    external_id: str | None
    source_url: str | None
    allowed_principals: list[str] | None
    """Who may find it; None is everybody of the tenant, an empty list is nobody."""
    created_at: datetime
    updated_at: datetime
    dense: DenseVector
    sparse: SparseVector

    @property
    def id(self) -> UUID:
        """The chunk's id, which is the point's."""
        return chunk_id_for(self.document_id, self.version, self.ordinal)


class DocumentChange(msgspec.Struct, frozen=True, kw_only=True):
    """What may change of a document without making its vectors anew; all of it is given."""

    doc_type: str | None
    tags: list[str]
    metadata: Metadata
    source_url: str | None
    allowed_principals: list[str] | None
    updated_at: datetime


class Passage(msgspec.Struct, frozen=True):
    """What a point's payload holds for the reader."""

    document_id: UUID
    version: int
    ordinal: int
    collection: str
    text: str
    title: str
    heading_path: list[str]
    char_start: int
    char_end: int
    tags: list[str]
    metadata: Metadata
    created_at: datetime
    page: int | None = None
    doc_type: str | None = None
    external_id: str | None = None
    source_url: str | None = None


class CodedPassage(Passage, frozen=True):
    """A passage with the code of its dense vector; points of before have none."""

    dense_code: str = ""


def point(chunk: ChunkPoint, *, active: bool) -> models.PointStruct:
    """Return `chunk` as Qdrant takes it."""
    dense = chunk.dense
    return models.PointStruct(
        id=str(chunk.id),
        vector={
            DENSE: dense.tolist() if isinstance(dense, np.ndarray) else list(dense),
            SPARSE: models.SparseVector(indices=chunk.sparse.indices, values=chunk.sparse.values),
        },
        payload={
            "tenant_id": str(chunk.tenant_id),
            "document_id": str(chunk.document_id),
            "version": chunk.version,
            "ordinal": chunk.ordinal,
            "active": int(active),
            "collection": chunk.collection,
            "text": chunk.text,
            "title": chunk.title,
            "heading_path": chunk.heading_path,
            "page": chunk.page,
            "char_start": chunk.char_start,
            "char_end": chunk.char_end,
            "external_id": chunk.external_id,
            "created_at": chunk.created_at.isoformat(),
            "dense_code": codes.encode(np.asarray(dense, dtype=np.float32)),
            **_changeable(chunk),
        },
    )


def change_payload(change: DocumentChange) -> dict[str, object]:
    """Return the payload entries that `change` replaces."""
    return _changeable(change)


def _changeable(source: ChunkPoint | DocumentChange) -> dict[str, object]:
    return {
        "doc_type": source.doc_type,
        "tags": source.tags,
        "metadata": {metadata_key(name): value for name, value in source.metadata.items()},
        "source_url": source.source_url,
        # A flag apart: to Qdrant an empty list of principals (nobody) is the same as none (everybody).
        "restricted": int(source.allowed_principals is not None),
        "principals": source.allowed_principals or [],
        "updated_at": source.updated_at.isoformat(),
    }


def passage(payload: Passage) -> Passage:
    """Return a point's payload as the passage that a search shows, with metadata under its own names."""
    fields = {name: getattr(payload, name) for name in Passage.__struct_fields__}
    fields["metadata"] = {metadata_name(key): value for key, value in payload.metadata.items()}
    return Passage(**fields)


def attributes(payload: Mapping[str, object]) -> Mapping[str, object]:
    """Return entries of a point's payload, with metadata under its own names."""
    metadata = payload.get("metadata")
    if not isinstance(metadata, Mapping):
        return payload
    return {**payload, "metadata": {metadata_name(key): value for key, value in metadata.items()}}


def metadata_key(name: str) -> str:
    """Return the payload key of a metadata name: one that can be quoted in Qdrant's JSON paths.

    A quoted key may hold anything but a quotation mark, and must hold something.
    """
    return "".join(_ESCAPES.get(char, char) for char in name) or "%"


def metadata_name(key: str) -> str:
    """Return the metadata name that `metadata_key` made `key` of."""
    return "" if key == "%" else key.replace("%22", '"').replace("%25", "%")
