"""Searches: `rpc.v1.search.*`. The reply is also the HTTP answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.documents import Metadata
from quarry_common.contracts.filters import Field, Filter
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.errors import ErrorData

MAX_BATCH = 50
"""Searches that one request may hold."""
MAX_FACETS = 20


class SearchMode(StrEnum):
    """Which legs answer a search; the mode asked for is the mode that runs."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class Facet(msgspec.Struct, frozen=True):
    """A field whose values are counted over the documents that were found."""

    field: Field
    name: str = ""
    """Name of the metadata entry, when the field is metadata."""

    @property
    def label(self) -> str:
        """How callers write it: `doc_type`, `metadata.author`."""
        return f"{self.field}.{self.name}" if self.name else self.field.value


class SortField(StrEnum):
    """What results are sorted by instead of relevance."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    TITLE = "title"


class Sort(msgspec.Struct, frozen=True):
    """Sorts what was found; equal ones stay in the order of relevance."""

    by: SortField
    descending: bool = False


UserId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
"""Whoever searches, as the application names them; it says nothing to Quarry."""


class Asker(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who searches, for analytics; an answer does not depend on it."""

    key_id: UUID | None = None
    user_id: str | None = None
    client_id: str | None = None
    """The device or browser."""
    recorded: bool = True
    """Whether the search is somebody's, and no measurement."""


NOBODY = Asker()


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
    facets: list[Facet] = []
    facet_limit: Annotated[int, Meta(ge=1, le=100)] = 10
    sort: Sort | None = None
    min_score: float | None = None
    """Results below it are left out: cosine in semantic mode, BM25 in keyword mode, 0 to 1 in hybrid mode."""
    explain: bool = False
    rerank: bool | None = None
    """Whether the reranker orders the best results; None does what the installation is set to."""
    asker: Asker = NOBODY


class Place(msgspec.Struct, frozen=True):
    """Where a result stood in one list, 1 the first, and its score there."""

    rank: int
    score: float


class ResultExplanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a result stands where it does. A leg is left out when it did not find the result."""

    dense: Place | None = None
    sparse: Place | None = None
    fused: Place | None = None
    rerank: Place | None = None


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
    explanation: ResultExplanation | None = None


class FacetCount(msgspec.Struct, frozen=True):
    """How many of the documents that were found have a value."""

    value: str | int | float | bool
    count: int


class RerankOutcome(StrEnum):
    """What became of reranking."""

    NOT_ASKED = "not_asked"
    DONE = "done"
    FAILED = "failed"
    """The reranker failed or was slow: the order is the fused one."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer came about."""

    dense_weight: float | None
    """Share of the dense leg in the fused score; None when one leg ran."""
    terms: list[str]
    """What the keyword leg looked for."""
    phrases: list[str]
    """What results had to hold word by word."""
    corrections: list[str]
    """Terms that were looked for with their likely misspellings, since they stand nowhere."""
    filters: Filter | None
    """The filter that was applied, with everything forced."""
    principals: list[str]
    rerank: RerankOutcome
    trace_id: str


class CacheUse(StrEnum):
    """Where an answer came from."""

    HIT = "hit"
    """It was computed before, and nothing of the tenant's content has changed since."""
    MISS = "miss"
    OFF = "off"
    """It was computed, and is not kept: caching is off, or it is not known that nothing has changed."""


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
    facets: dict[str, list[FacetCount]] = {}
    """By facet, most frequent values first; documents within reach are counted, each once."""
    rerank: RerankOutcome = RerankOutcome.NOT_ASKED
    cache: CacheUse = CacheUse.OFF
    similarity: float | None = None
    """Cosine of query and nearest passage, whatever its rank; null in keyword mode and when nothing was
    found."""
    explanation: Explanation | None = None
    event_token: str = ""
    """Lets a browser tell what is done with this answer for a day; empty where that is switched off."""


class Batch(msgspec.Struct, frozen=True):
    """Several searches at once, each answered by itself."""

    queries: Annotated[list[Query], Meta(min_length=1, max_length=MAX_BATCH)]


class Outcome(msgspec.Struct, frozen=True):
    """What became of one search of a batch; one of the two is given."""

    answer: Answer | None = None
    error: ErrorData | None = None


class Outcomes(msgspec.Struct, frozen=True):
    """What became of the searches of a batch, in their order."""

    outcomes: list[Outcome]


QUERY = RpcMethod("search", "query", Query, Answer)
BATCH = RpcMethod("search", "batch", Batch, Outcomes)
