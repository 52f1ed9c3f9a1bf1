"""Collections and searches."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from quarry_client.types.documents import MetadataValue

Mode = Literal["hybrid", "semantic", "keyword"]

MODES: Final[tuple[Mode, ...]] = ("hybrid", "semantic", "keyword")

Filter = dict[str, object]
"""A filter as the API's reference describes it; it travels as it is."""


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents, indexed by one embedder."""

    id: UUID
    name: str
    created_at: datetime
    embedder_id: str = ""
    document_count: int = 0
    chunk_count: int = 0


class CollectionPage(msgspec.Struct, frozen=True):
    """Some collections and where to go on."""

    collections: list[Collection]
    next_cursor: str | None = None


class Result(msgspec.Struct, frozen=True):
    """A cited passage."""

    document_id: UUID
    chunk_id: UUID
    title: str
    text: str
    score: float
    collection: str
    created_at: datetime
    version: int = 1
    external_id: str | None = None
    heading_path: list[str] = []
    page: int | None = None
    char_start: int = 0
    char_end: int = 0
    highlights: list[str] = []
    """Excerpts with `<mark>` around what matched; everything else in them is HTML-escaped."""
    doc_type: str = ""
    tags: list[str] = []
    metadata: dict[str, MetadataValue] = {}
    source_url: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """The passages that a search found, best first."""

    query_id: UUID
    mode: str
    query: str
    total: int
    results: list[Result]
    timings_ms: dict[str, float] = {}
    next_cursor: str | None = None
