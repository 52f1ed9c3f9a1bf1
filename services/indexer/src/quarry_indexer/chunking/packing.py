"""Pieces to spans: fill up to the maximum, end at the best place near it, begin a little before the cut."""

from collections.abc import Sequence
from itertools import takewhile

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


def pack(text: str, sections: Sequence[Section], index: TokenIndex, options: ChunkOptions) -> list[Span]:
    """Return the spans of sections that may share chunks."""
    pieces = [
        piece
        for section in sections
        for block in section.blocks
        for piece in pieces_of(text, block, index, options.max_tokens)
    ]
    starts = [index.before(piece.start) for piece in pieces]
    ends = [index.before(piece.end) for piece in pieces]
    spans: list[Span] = []
    at = 0
    start = pieces[0].start
    while at < len(pieces):
        base = index.before(start)
        if ends[at] - base > options.max_tokens:  # no room for the overlap
            start, base = pieces[at].start, starts[at]
        stop = _fill(pieces, ends, at, base, options.max_tokens)
        end = pieces[stop - 1].end
        block = pieces[at].block
        spans.append(
            Span(start, end, _heading_path(sections, start, end), block.header if start > block.start else "")
        )
        if stop < len(pieces):
            start = _overlap_start(text, pieces[stop - 1], pieces[stop], start, index, options.overlap_tokens)
        at = stop
    return spans


def _fill(pieces: Sequence[Piece], ends: Sequence[int], at: int, base: int, max_tokens: int) -> int:
    """The piece to stop before: the last that fits, or a better place to cut in the last part."""
    stop = at + 1
    while stop < len(pieces) and ends[stop] - base <= max_tokens:
        stop += 1
    if stop == len(pieces):
        return stop
    best = stop
    for candidate in range(stop - 1, at, -1):
        if ends[candidate - 1] - base < max_tokens * _LEAST_FILL:
            break
        if pieces[candidate - 1].strength > pieces[best - 1].strength:
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
