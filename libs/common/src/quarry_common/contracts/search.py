"""Searches: `rpc.v1.search.*`. The reply is also the HTTP answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.documents import Metadata
from quarry_common.contracts.filters import Filter
from quarry_common.contracts.rpc import RpcMethod


class SearchMode(StrEnum):
    """Which legs answer a search; the mode asked for is the mode that runs."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class Query(msgspec.Struct, frozen=True):
    """A search of one tenant. `principals` are those the caller carries (see `allowed_principals`)."""

    tenant_id: UUID
    query: Annotated[str, Meta(min_length=1, max_length=8000)]
    mode: SearchMode = SearchMode.HYBRID
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    cursor: str | None = None
    filters: Filter | None = None
    group_by_document: bool = False
    highlight: bool = False
    principals: frozenset[str] = frozenset()


class Result(msgspec.Struct, frozen=True):
    """A cited passage."""

    document_id: UUID
    external_id: str | None
    chunk_id: UUID
    version: int
    title: str
    heading_path: list[str]
    page: int | None
    char_start: int
    char_end: int
    """Where the passage stands in the document's extracted text, in characters."""
    text: str
    highlights: list[str]
    """Excerpts with `<mark>` around what matched; everything else in them is HTML-escaped."""
    score: float
    doc_type: str
    tags: list[str]
    metadata: Metadata
    collection: str
    source_url: str | None
    created_at: datetime


class Answer(msgspec.Struct, frozen=True):
    """The passages that a search found, best first."""

    query_id: UUID
    mode: SearchMode
    query: str
    total: int
    """How many passages are within reach of the cursor: the size of the ranked list."""
    results: list[Result]
    timings_ms: dict[str, float]
    next_cursor: str | None = None


QUERY = RpcMethod("search", "query", Query, Answer)
