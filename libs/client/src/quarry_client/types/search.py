"""Collections and searches."""

from datetime import datetime
from typing import Final, Literal, TypedDict, get_args
from uuid import UUID

import msgspec

from quarry_client.types.documents import MetadataValue
from quarry_client.types.system import Problem

Mode = Literal["hybrid", "semantic", "keyword"]

SearchSort = Literal["relevance", "created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]

SEARCH_SORTS: Final[tuple[SearchSort, ...]] = get_args(SearchSort)
MODES: Final[tuple[Mode, ...]] = ("hybrid", "semantic", "keyword")

Filter = dict[str, object]
"""A filter as the API's reference describes it; it travels as it is."""


class CollectionSettings(msgspec.Struct, frozen=True):
    """How the documents of a collection are indexed and searched; None is the platform's own way."""

    language: str | None = None
    """Two letters by ISO 639-1."""
    chunk_tokens: int | None = None
    chunk_overlap: int | None = None
    title_boost: float = 1.0
    stop_words: list[str] = []
    synonyms: list[list[str]] = []
    dense_weight: float | None = None


class SettingsChanges(TypedDict, total=False):
    """What may be set of a collection; None goes back to the platform's own way, lists are replaced."""

    language: str | None
    chunk_tokens: int | None
    chunk_overlap: int | None
    title_boost: float | None
    stop_words: list[str] | None
    synonyms: list[list[str]] | None
    dense_weight: float | None


class Collection(msgspec.Struct, frozen=True):
    """A named set of documents, indexed by one embedder."""

    id: UUID
    name: str
    created_at: datetime
    embedder_id: str = ""
    document_count: int = 0
    chunk_count: int = 0
    settings: CollectionSettings = CollectionSettings()
    outdated_documents: int = 0
    """How many were indexed with other settings of chunks or titles; `reindex` brings them up to date."""


class CollectionPage(msgspec.Struct, frozen=True):
    """Some collections and where to go on."""

    collections: list[Collection]
    next_cursor: str | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a result stood in one list, 1 the first, and its score there."""

    rank: int
    score: float


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
    explanation: dict[str, Place] | None = None
    """Where it stood in each list: `dense`, `sparse`, `fused`, `rerank`."""


class FacetCount(msgspec.Struct, frozen=True):
    """How many of the documents that were found have a value."""

    value: str | int | float | bool
    count: int


class Answer(msgspec.Struct, frozen=True):
    """The passages that a search found, best first."""

    query_id: UUID
    mode: str
    query: str
    total: int
    results: list[Result]
    timings_ms: dict[str, float] = {}
    next_cursor: str | None = None
    facets: dict[str, list[FacetCount]] = {}
    rerank: str = "not_asked"
    cache: str = "off"
    """Where the answer came from: `hit`, `miss`, or `off` when it is not kept."""
    explanation: dict[str, object] | None = None
    """How the answer came about, when that was asked for."""


class SearchEntry(msgspec.Struct, frozen=True):
    """What became of one search of a batch; one of the two is given."""

    answer: Answer | None = None
    error: Problem | None = None


class SearchBatch(msgspec.Struct, frozen=True):
    """What became of the searches of a batch, in their order."""

    results: list[SearchEntry]
