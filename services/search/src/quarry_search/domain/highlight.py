"""Excerpts of a passage with what matched the query's terms marked.

Matches are found by the analyser of keyword search, so a word is marked when it counted: `running` for
`run`, `मकानों` for `मकान`, `東京` within `東京都`, `error` within `last_error`.
"""

import html
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise

import msgspec
import regex

from quarry_common.embedding.analyzer import analyze_query, is_unspaced, token_terms, tokenize

MAX_EXCERPTS = 3
EXCERPT_CHARACTERS = 200

_GRAPHEME = regex.compile(r"\X")
_PART = regex.compile(r"[\p{L}\p{M}\p{N}\u200C\u200D]+")
_SPACES = regex.compile(r"\s+")


class Match(msgspec.Struct, frozen=True):
    """A stretch of the text, in characters, and the query's terms that it holds."""

    start: int
    end: int
    terms: frozenset[str]


def excerpts(text: str, query: str) -> list[str]:
    """Return at most three excerpts of `text`, in its order, those with most of the query's terms.

    Everything but the marks is HTML-escaped. Nothing matched: no excerpt.
    """
    found = matches(text, frozenset(analyze_query(query)))
    return [_render(text, window) for window in _best(list(_windows(found)))]


def matches(text: str, wanted: frozenset[str]) -> list[Match]:
    """Return where terms of `wanted` stand in `text`, in order; neighbours in unspaced scripts are joined."""
    normal, origin = _normalized(text)
    found: list[Match] = []
    position = 0
    for token in tokenize(normal):
        start = normal.find(token, position)
        if start < 0:  # not there as it is written: one of the rare sequences that normalise only together
            continue
        position = start + len(token)
        if not wanted.isdisjoint(token_terms(token)):
            inner = _in_run(token, wanted) if is_unspaced(token) else _in_word(token, wanted)
            found += [Match(start + match.start, start + match.end, match.terms) for match in inner]
    if origin is None:
        return found
    # One character may be of two words: ½ is 1 and 2.
    return _joined(Match(origin[match.start][0], origin[match.end - 1][1], match.terms) for match in found)


def _normalized(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """Return the text as the analyser sees it, and where in `text` each of its characters comes from."""
    if unicodedata.is_normalized("NFKC", text):
        return text, None
    parts: list[str] = []
    origin: list[tuple[int, int]] = []
    for cluster in _GRAPHEME.finditer(text):
        part = unicodedata.normalize("NFKC", cluster.group())
        parts.append(part)
        origin += [cluster.span()] * len(part)
    return "".join(parts), origin


def _in_run(run: str, wanted: frozenset[str]) -> list[Match]:
    graphemes = [(cluster.start(), cluster.end()) for cluster in _GRAPHEME.finditer(run)]
    pieces = [*graphemes, *((first[0], second[1]) for first, second in pairwise(graphemes))]
    hits = sorted(
        (start, end, term) for start, end in pieces if (term := token_terms(run[start:end])[-1]) in wanted
    )
    return _joined(Match(start, end, frozenset({term})) for start, end, term in hits)


def _joined(found: Iterable[Match]) -> list[Match]:
    """Return `found` with those that overlap made one."""
    joined: list[Match] = []
    for match in found:
        if joined and match.start < joined[-1].end:
            last = joined.pop()
            match = Match(last.start, max(last.end, match.end), last.terms | match.terms)  # noqa: PLW2901
        joined.append(match)
    return joined


def _in_word(token: str, wanted: frozenset[str]) -> Iterator[Match]:
    parts = list(_PART.finditer(token))
    whole = token_terms(token)
    if len(parts) < 2 or whole[0] in wanted:
        yield Match(0, len(token), wanted & frozenset(whole))
        return
    for part in parts:
        if terms := wanted & frozenset(token_terms(part.group())):
            yield Match(part.start(), part.end(), terms)


def _windows(found: list[Match]) -> Iterator[list[Match]]:
    """Cut the matches into stretches that fit an excerpt, none overlapping another."""
    window: list[Match] = []
    for match in found:
        if window and match.end - window[0].start > EXCERPT_CHARACTERS:
            yield window
            window = []
        window.append(match)
    if window:
        yield window


def _best(windows: list[list[Match]]) -> list[list[Match]]:
    def worth(window: list[Match]) -> tuple[int, int]:
        return (-len(frozenset[str]().union(*(match.terms for match in window))), -len(window))

    chosen = sorted(windows, key=worth)[:MAX_EXCERPTS]
    return sorted(chosen, key=lambda window: window[0].start)


def _render(text: str, window: list[Match]) -> str:
    spare = max(EXCERPT_CHARACTERS - (window[-1].end - window[0].start), 0) // 2
    start = _boundary(text, window[0].start - spare, window[0].start)
    end = _boundary(text, window[-1].end + spare, window[-1].end)
    parts = ["…" if start > 0 else ""]
    position = start
    for match in window:
        parts.append(html.escape(text[position : match.start]))
        parts.append(f"<mark>{html.escape(text[match.start : match.end])}</mark>")
        position = match.end
    parts.append(html.escape(text[position:end]))
    parts.append("…" if end < len(text) else "")
    return str(_SPACES.sub(" ", "".join(parts)).strip())


def _boundary(text: str, place: int, toward: int) -> int:
    """Return where the text may be cut: at a space between `place` and `toward`, else between graphemes."""
    if place <= 0 or place >= len(text):
        return max(0, min(place, len(text)))
    low, high = min(place, toward), max(place, toward)
    spaces = list(_SPACES.finditer(text, low, high))
    if spaces:
        return int(spaces[0].end() if place < toward else spaces[-1].start())
    step = 1 if place < toward else -1
    while place != toward and _joins(text[place]):
        place += step
    return place


def _joins(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" or char in "\u200c\u200d"
