"""Pieces to spans: fill up to the maximum, end at the best place near it, begin a little before the cut."""

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

import msgspec

from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.chunking.pieces import Piece, pieces_of, sentence_start
from quarry_indexer.chunking.section import Section
from quarry_indexer.chunking.tokens import TokenIndex

_LEAST_FILL = 0.6


class Span(msgspec.Struct, frozen=True):
    """A chunk to be: `text[start:end]`."""

    start: int
    end: int
    path: tuple[str, ...]
    header: str = ""
    """Header row of the table that the span begins within."""


def pack(text: str, sections: Sequence[Section], index: TokenIndex, options: ChunkOptions) -> Iterator[Span]:
    """Yield the spans of sections that may share chunks."""
    window = _Window(
        piece
        for section in sections
        for block in section.blocks
        for piece in pieces_of(text, block, index, options.max_tokens)
    )
    start = sections[0].start
    while window.has(0):
        first = window[0]
        base = index.before(start)
        if first.token_end - base > options.max_tokens:  # no room for the overlap
            start, base = first.start, first.token_start
        stop = _fill(window, base, options.max_tokens)
        last, block = window[stop - 1], first.block
        path = _heading_path(sections, start, last.end)
        yield Span(start, last.end, path, block.header if start > block.start else "")
        if window.has(stop):
            start = _overlap_start(text, last, window[stop], start, index, options.overlap_tokens)
        window.drop(stop)


class _Window:
    """The pieces from the one that is next; no more are made than are looked at."""

    def __init__(self, source: Iterator[Piece]) -> None:
        self._source = source
        self._held: list[Piece] = []

    def __getitem__(self, number: int) -> Piece:
        return self._held[number]

    def has(self, number: int) -> bool:
        """Whether there is a piece `number`, counted from the next."""
        if number >= len(self._held):
            self._held += islice(self._source, number + 1 - len(self._held))
        return number < len(self._held)

    def drop(self, count: int) -> None:
        """Pass over pieces."""
        del self._held[:count]


def _fill(window: _Window, base: int, max_tokens: int) -> int:
    """The piece to stop before: the last that fits, or a better place to cut in the last part."""
    stop = 1
    while window.has(stop) and window[stop].token_end - base <= max_tokens:
        stop += 1
    if not window.has(stop):
        return stop
    best = stop
    for candidate in range(stop - 1, 0, -1):
        if window[candidate - 1].token_end - base < max_tokens * _LEAST_FILL:
            break
        if window[candidate - 1].strength > window[best - 1].strength:
            best = candidate
    return best


def _overlap_start(
    text: str, before: Piece, after: Piece, chunk_start: int, index: TokenIndex, overlap_tokens: int
) -> int:
    """Where the next chunk begins: prose repeats its last sentence or words, tables and code do not."""
    if overlap_tokens == 0 or before.block.kind != "prose" or after.block.kind != "prose":
        return after.start
    earliest = index.position(max(0, index.before(after.start) - overlap_tokens))
    found = sentence_start(text, max(earliest, chunk_start + 1), before.end)
    return after.start if found is None else found


def _heading_path(sections: Sequence[Section], start: int, end: int) -> tuple[str, ...]:
    """The headings above all of the span; where there are none, those above most of it.

    A heading with nothing under it does not count, nor does an introduction above the main section.
    """

    def shared(section: Section) -> int:
        return min(end, section.end) - max(start, section.start)

    touched = [section for section in sections if shared(section) > 0]
    main = max(touched, key=shared).path
    common = main
    for section in touched:
        if section.has_body and section.path != main[: len(section.path)]:
            common = _common(common, section.path)
    return common or main


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(name for name, _ in same)
