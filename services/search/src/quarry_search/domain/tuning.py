"""What the settings of the collections that are searched make of a query."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from quarry_common.contracts.collections import AllSettings, CollectionSettings
from quarry_common.contracts.filters import Filter, collection_limits
from quarry_common.embedding.analyzer import analyze_query, is_unspaced, token_terms, tokenize
from quarry_search.domain.wording import normal

SYNONYM_WEIGHT: Final = 0.8
"""Of what means the same, beside 1 for what is written; the words of a phrase share it."""
MAX_TERMS: Final = 200
"""Terms that synonyms add to a query."""

_Phrase = tuple[tuple[str, ...], ...]
"""The terms of each of its words."""


class Synonyms:
    """Groups of words and phrases that mean the same, ready to be found in queries."""

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self._meanings = [{text: analyze_query(text) for text in group} for group in groups]
        self._spaced: dict[tuple[str, ...], list[tuple[_Phrase, int, str]]] = {}
        self._unspaced: list[tuple[str, int, str]] = []
        for place, group in enumerate(groups):
            for text in group:
                tokens = tokenize(text)
                if any(map(is_unspaced, tokens)):
                    self._unspaced.append((normal(text), place, text))
                elif tokens:
                    phrase = tuple(map(token_terms, tokens))
                    self._spaced.setdefault(phrase[0], []).append((phrase, place, text))

    def of(self, query: str) -> Iterator[list[str]]:
        """Yield the terms of each word or phrase that means what one in `query` means."""
        found = dict.fromkeys(self._found(query))
        for place, written in found:
            for text, terms in self._meanings[place].items():
                if (place, text) not in found and text != written:
                    yield terms

    def _found(self, query: str) -> Iterator[tuple[int, str]]:
        if self._spaced:
            words = tuple(map(token_terms, tokenize(query)))
            for start, word in enumerate(words):
                for phrase, place, text in self._spaced.get(word, ()):
                    if words[start : start + len(phrase)] == phrase:
                        yield place, text
        if self._unspaced:
            compared = normal(query)
            for part, place, text in self._unspaced:
                if part in compared:
                    yield place, text


class Tuning(msgspec.Struct, frozen=True):
    """How a query is read and its legs are weighted. `digest` tells them apart; the platform's has none."""

    stop_words: frozenset[str] = frozenset()
    synonyms: tuple[Synonyms, ...] = ()
    language: str | None = None
    dense_weight: float | None = None
    digest: str = ""

    def terms(self, query: str) -> dict[str, float]:
        """Return what the keyword leg looks for, with weights."""
        written = dict.fromkeys(analyze_query(query, self.stop_words), 1.0)
        added: dict[str, float] = {}
        for synonyms in self.synonyms:
            for terms in synonyms.of(query):
                weight = SYNONYM_WEIGHT / len(terms) if terms else 0.0
                for term in terms:
                    if len(added) < MAX_TERMS or term in added:
                        added[term] = max(weight, added.get(term, 0.0))
        return added | written


PLATFORM: Final = Tuning()
"""Of collections that say nothing."""


class Tunings:
    """The tunings of one tenant's collections. Making them takes a few milliseconds for many synonyms."""

    def __init__(self, settings: AllSettings) -> None:
        self.settings = settings
        self._named = {name: _tuning(each) for name, each in settings.settings.items()}

    def of(self, filters: Filter | None) -> Tuning:
        """Return the tuning of what is searched within `filters`: of several collections, what they agree on,
        and the synonyms of all of them."""
        limits = [frozenset(map(str, limit.values)) for limit in collection_limits(filters)]
        if limits:
            chosen = [self._named.get(name, PLATFORM) for name in sorted(frozenset.intersection(*limits))]
        else:
            chosen = [*self._named.values(), *([PLATFORM] if self.settings.others else [])]
        return _agreed(chosen)


def _tuning(settings: CollectionSettings) -> Tuning:
    searching = (settings.stop_words, settings.synonyms, settings.language, settings.dense_weight)
    return Tuning(
        stop_words=frozenset(word.casefold().strip() for word in settings.stop_words),
        synonyms=(Synonyms(settings.synonyms),) if settings.synonyms else (),
        language=settings.language,
        dense_weight=settings.dense_weight,
        digest=_digest(searching) if any(each not in ([], None) for each in searching) else "",
    )


def _agreed(chosen: Sequence[Tuning]) -> Tuning:
    if not chosen:
        return PLATFORM
    first = chosen[0]
    if all(each.digest == first.digest for each in chosen):
        return first
    return Tuning(
        stop_words=frozenset.intersection(*(each.stop_words for each in chosen)),
        synonyms=tuple(synonyms for each in chosen for synonyms in each.synonyms),
        language=first.language if len({each.language for each in chosen}) == 1 else None,
        dense_weight=first.dense_weight if len({each.dense_weight for each in chosen}) == 1 else None,
        digest=_digest([each.digest for each in chosen]),
    )


def _digest(parts: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()
