"""Cutting what does not fit: sentences, lines or rows first, then words, at last between tokens."""

import re
from collections.abc import Iterator

import msgspec

from quarry_indexer.chunking.lines import lines_of
from quarry_indexer.chunking.section import Block
from quarry_indexer.chunking.tokens import TokenIndex

BLOCK, SENTENCE, LINE, WORD, TOKEN = 4, 3, 2, 1, 0
"""How good a place to cut is."""

# Ideographic, fullwidth, Devanagari and Arabic signs end a sentence without a blank after them; the point of
# an outline number ("1.2. Scope") ends none.
_SENTENCE_END = re.compile(
    "(?:(?<!\\.\\d)(?<!\\.\\d\\d)[.]|[!?\u2026])[\"'\u201d\u2019)\\]]*\\s+"
    "|[\u3002\uff01\uff1f\uff61\u0964\u0965\u061f][\u300d\u300f\u201d\u2019\uff09]*\\s*"
    "|\\n\\s*"
)
_WORD_END = re.compile(r"\s+")


class Piece(msgspec.Struct, frozen=True, gc=False):
    """`text[start:end]`, of at most the maximum of tokens; `strength` tells how good a cut its end is."""

    start: int
    end: int
    strength: int
    block: Block
    token_start: int
    """How many tokens of the text begin before the piece."""
    token_end: int


def pieces_of(text: str, block: Block, index: TokenIndex, max_tokens: int) -> Iterator[Piece]:
    """Yield the pieces of `block`, in order and without gaps but blanks."""
    at, before = block.start, index.before(block.start)
    last = index.before(block.end)
    if last - before <= max_tokens:
        yield Piece(block.start, block.end, BLOCK, block, before, last)
        return
    for start, end, strength in _parts(text, block):
        if start != at:
            before = index.before(start)
        at, after = end, index.before(end)
        if after - before <= max_tokens:
            yield Piece(start, end, strength, block, before, after)
        else:
            yield from _words_of(text, start, end, strength, block, index, max_tokens)
        before = after


def sentence_start(text: str, start: int, end: int) -> int | None:
    """Return where the first sentence (else word) that begins in `text[start:end]` begins."""
    for sentence in _SENTENCE_END.finditer(text, start, end):
        if not sentence[0].isspace() or sentence[0].count("\n") > 1:  # a mere line end is no sentence's
            return sentence.end() if sentence.end() < end else None
    word = _WORD_END.search(text, start, end)
    return word.end() if word and word.end() < end else None


def _parts(text: str, block: Block) -> Iterator[tuple[int, int, int]]:
    if block.kind == "rows":
        start = block.start
        for end in block.rows:
            if start < end <= block.end:
                yield start, end, BLOCK
                start = end
        if start < block.end:
            yield start, block.end, BLOCK
    elif block.kind == "lines":
        for line in lines_of(text, block.start, block.end):
            yield line.start, line.end, LINE
    else:
        start = block.start
        for found in _SENTENCE_END.finditer(text, block.start, block.end):
            yield start, found.end(), SENTENCE if not found[0].isspace() else LINE
            start = found.end()
        if start < block.end:
            yield start, block.end, SENTENCE


def _words_of(
    text: str, start: int, end: int, strength: int, block: Block, index: TokenIndex, max_tokens: int
) -> Iterator[Piece]:
    before = index.before(start)
    for at, word_end in _words(text, start, end):
        after = index.before(word_end)
        while after - before > max_tokens:
            cut = index.cut_after(at, max_tokens, word_end)
            between = index.before(cut)
            yield Piece(at, cut, TOKEN, block, before, between)
            at, before = cut, between  # noqa: PLW2901 - the word goes on
        if at < word_end:
            yield Piece(at, word_end, strength if word_end == end else WORD, block, before, after)
        before = after


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for found in _WORD_END.finditer(text, start, end):
        yield start, found.end()
        start = found.end()
    if start < end:
        yield start, end
