"""What is done with the ranked list as a whole: left out, sorted, counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from quarry_common.contracts.filters import Field
from quarry_common.contracts.search import Facet, FacetCount, Query, Sort, SortField
from quarry_common.vectors.queries import Candidate
from quarry_search.domain.wording import Wording, holds

Attributes = Mapping[str, Mapping[str, object]]
"""Entries of the payloads of candidates, by chunk id."""


def needed_fields(query: Query, wording: Wording) -> list[str]:
    """Return which entries of payloads the list must be looked at by; none when it is good as it is."""
    fields: dict[str, None] = {}
    if wording.phrases:
        fields |= dict.fromkeys(("text", "title", "heading_path"))
    if query.sort is not None:
        fields[query.sort.by.value] = None
    if query.facets:
        fields |= dict.fromkeys(("document_id", "version"))
        fields |= dict.fromkeys(facet.field.value for facet in query.facets)
    return list(fields)


def with_phrases(candidates: Sequence[Candidate], known: Attributes, wording: Wording) -> list[Candidate]:
    """Return the candidates whose passage, under its title and headings, has every phrase."""
    if not wording.phrases:
        return list(candidates)
    return [found for found in candidates if holds(_all_text(known[found.chunk_id]), wording.phrases)]


def _all_text(entries: Mapping[str, object]) -> str:
    headings = entries.get("heading_path")
    parts = [entries.get("title"), *(headings if isinstance(headings, list) else ()), entries.get("text")]
    return "\n".join(str(part) for part in parts if part)


def by_sort(candidates: Sequence[Candidate], known: Attributes, sort: Sort) -> list[Candidate]:
    """Return the candidates in the order asked for; equal ones, and those of one moment, by relevance."""

    def key(found: Candidate) -> datetime | str:
        value = str(known[found.chunk_id].get(sort.by.value) or "")
        return value.casefold() if sort.by is SortField.TITLE else datetime.fromisoformat(value)

    return sorted(candidates, key=key, reverse=sort.descending)


def counts(
    candidates: Sequence[Candidate], known: Attributes, facets: Sequence[Facet], limit: int
) -> dict[str, list[FacetCount]]:
    """Return how many documents among the candidates have each value, the most frequent first.

    Every document counts once, as its highest version is; equal counts are in the order of their values.
    """
    documents = _newest(candidates, known)
    found: dict[str, list[FacetCount]] = {}
    for facet in facets:
        counter = Counter(value for entries in documents for value in _values(entries, facet))
        ranked = sorted(counter.items(), key=lambda item: (-item[1], str(item[0][1])))
        found[facet.label] = [FacetCount(value, count) for (_, value), count in ranked[:limit]]
    return found


def _newest(candidates: Sequence[Candidate], known: Attributes) -> list[Mapping[str, object]]:
    newest: dict[object, Mapping[str, object]] = {}
    for found in candidates:
        entries = known[found.chunk_id]
        before = newest.get(entries["document_id"])
        if before is None or int(str(before["version"])) < int(str(entries["version"])):
            newest[entries["document_id"]] = entries
    return list(newest.values())


def _values(entries: Mapping[str, object], facet: Facet) -> set[tuple[type, str | int | float | bool]]:
    value = entries.get(facet.field.value)
    if facet.field is Field.METADATA:
        value = value.get(facet.name) if isinstance(value, Mapping) else None
    each = value if isinstance(value, list) else [value]
    # True and 1 are equal to Python, but not to who asks.
    return {
        (bool if isinstance(item, bool) else float if isinstance(item, int | float) else str, item)
        for item in each
        if isinstance(item, str | int | float | bool)
    }
