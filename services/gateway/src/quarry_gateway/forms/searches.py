"""What a search may ask for, as it comes in a body, and as the search service is asked."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts import filters
from quarry_common.contracts.filters import Field
from quarry_common.contracts.search import (
    MAX_BATCH,
    MAX_FACETS,
    Asker,
    Facet,
    Query,
    SearchMode,
    Sort,
    SortField,
    UserId,
)
from quarry_common.errors import FieldError
from quarry_gateway.access.search_tokens import narrowed
from quarry_gateway.domain import Caller
from quarry_gateway.forms.filtering import wrong_filter
from quarry_gateway.forms.validation import refuse
from quarry_gateway.http.paging import Cursor

COUNTED = (Field.DOC_TYPE, Field.TAGS, Field.COLLECTION, Field.SOURCE_URL, Field.EXTERNAL_ID)
"""Fields that can be a facet; any entry of metadata can, too."""
_METADATA = f"{Field.METADATA}."
MAX_WAITED_FOR = 100


class SearchSort(StrEnum):
    """What results are sorted by; a dash before it: the greatest first."""

    RELEVANCE = "relevance"
    CREATED = "created_at"
    CREATED_DESCENDING = "-created_at"
    UPDATED = "updated_at"
    UPDATED_DESCENDING = "-updated_at"
    TITLE = "title"
    TITLE_DESCENDING = "-title"


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look for. `filters` is described in docs/services/gateway.md."""

    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=8000,
            description='Words, and phrases in quotation marks that results must hold: `"due date" rent`.',
        ),
    ]
    mode: SearchMode = SearchMode.HYBRID
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    cursor: Cursor | None = None
    filters: dict[str, Any] | None = None
    group_by_document: Annotated[bool, Meta(description="Show the best passage of each document.")] = False
    highlight: Annotated[bool, Meta(description="Show excerpts in which what matched is marked.")] = False
    facets: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=120)]],
        Meta(
            max_length=MAX_FACETS,
            description=(
                "Fields whose values are counted over the documents found: doc_type, tags, collection, "
                "source_url, external_id, metadata.<name>."
            ),
            examples=[["doc_type", "tags", "metadata.author"]],
        ),
    ] = []
    facet_limit: Annotated[int, Meta(ge=1, le=100, description="Values of each facet at most.")] = 10
    sort: Annotated[
        SearchSort, Meta(description="Sorts what was found; the list holds the most relevant passages.")
    ] = SearchSort.RELEVANCE
    min_score: Annotated[
        float | None,
        Meta(description="Leave out what scores less: cosine (semantic), BM25 (keyword), 0 to 1 (hybrid)."),
    ] = None
    explain: Annotated[bool, Meta(description="Tell how the answer came about.")] = False
    rerank: Annotated[
        bool | None, Meta(description="Whether the reranker orders the best results, where there is one.")
    ] = None
    wait_for: Annotated[
        list[UUID],
        Meta(
            max_length=MAX_WAITED_FOR,
            description="Jobs whose documents the search must see; it waits until they are over.",
        ),
    ] = []
    wait_seconds: Annotated[float, Meta(ge=0, le=60, description="How long to wait for them.")] = 10
    user_id: Annotated[
        UserId | None,
        Meta(description="Your own id of whoever searches, for analytics; a search token's `sub`."),
    ] = None
    client_id: Annotated[
        UserId | None, Meta(description="Your own id of the browser or device that searches, for analytics.")
    ] = None


class SearchBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several searches at once."""

    queries: Annotated[list[Search], Meta(min_length=1, max_length=MAX_BATCH)]


def query_of(form: Search, caller: Caller, path: str = "") -> Query:
    """Return what the search service is asked.

    Raises `ValidationError`, with fields below `path`, when filter or facets are wrong.
    """
    refuse([msgspec.structs.replace(error, field=path + error.field) for error in wrong_facets(form.facets)])
    return Query(
        tenant_id=caller.tenant_id,
        query=form.query,
        mode=form.mode,
        limit=form.limit,
        cursor=form.cursor,
        filters=narrowed(
            filters.parse(form.filters, f"{path}filters") if form.filters else None,
            caller.forced,
            caller.collections,
        ),
        group_by_document=form.group_by_document,
        highlight=form.highlight,
        facets=[_facet(name) for name in dict.fromkeys(form.facets)],
        facet_limit=form.facet_limit,
        sort=_sort(form.sort),
        min_score=form.min_score,
        explain=form.explain,
        rerank=form.rerank,
        principals=caller.principals,
        asker=Asker(caller.key_id, caller.user_id or form.user_id, form.client_id),
    )


def wrong_entries(raw: Mapping[str, object]) -> Iterable[FieldError]:
    """Tell what is wrong with filter and facets, whatever else is."""
    yield from wrong_filter("filters")(raw)
    named = raw.get("facets")
    if isinstance(named, list):
        yield from wrong_facets(named)


def wrong_facets(named: Iterable[object]) -> Iterable[FieldError]:
    """Tell which facets there are none of."""
    for index, name in enumerate(named):
        if (
            isinstance(name, str)
            and name not in COUNTED
            and len(name.removeprefix(_METADATA)) in {0, len(name)}
        ):
            known = ", ".join([*COUNTED, f"{_METADATA}<name>"])
            yield FieldError(f"facets[{index}]", f"must be one of {known}")


def wrong_queries(raw: Mapping[str, object]) -> Iterable[FieldError]:
    """Tell what is wrong with filters and facets of the searches of a batch."""
    queries = raw.get("queries")
    for index, each in enumerate(queries if isinstance(queries, list) else ()):
        if isinstance(each, dict):
            for error in wrong_entries(each):
                yield FieldError(f"queries[{index}].{error.field}", error.message)


def _facet(name: str) -> Facet:
    if name.startswith(_METADATA):
        return Facet(Field.METADATA, name.removeprefix(_METADATA))
    return Facet(Field(name))


def _sort(sort: SearchSort) -> Sort | None:
    if sort is SearchSort.RELEVANCE:
        return None
    return Sort(SortField(sort.lstrip("-")), descending=sort.startswith("-"))
