"""Where the tokens of a document begin, so that any span is counted without tokenizing it again."""

import unicodedata
from array import array
from bisect import bisect_left

from quarry_indexer.chunking.chunk import TokenCounter

_WINDOW_CHARACTERS = 32_768
# A word that the tokenizer gives up on is one "unknown" token however long it is. Counting a token for every
# few characters of such a stretch keeps a chunk readable and storable, not only embeddable.
_MAX_GAP_CHARACTERS = 32
_GAP_STEP_CHARACTERS = 16


class TokenIndex:
    """Token starts of one text, counted in the whole: a cut within a word may change the count."""

    def __init__(self, text: str, tokens: TokenCounter) -> None:
        self._text = text
        self._starts = _token_starts(text, tokens)

    def before(self, position: int) -> int:
        """Return how many tokens begin before the character `position`."""
        return bisect_left(self._starts, position)

    def count(self, start: int, end: int) -> int:
        """Return how many tokens begin in `text[start:end]`."""
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def position(self, token: int) -> int:
        """Return the character where token number `token` begins, or the end of the text."""
        return self._starts[token] if token < len(self._starts) else len(self._text)

    def cut_after(self, start: int, tokens: int, end: int) -> int:
        """Return where to cut `text[start:end]` after `tokens` tokens, never before an accent."""
        position = min(self.position(self.before(start) + tokens), end)
        cut = position
        while cut > start + 1 and position - cut < _GAP_STEP_CHARACTERS and _continues(self._text, cut):
            cut -= 1
        return cut if cut > start + 1 else max(position, start + 1)


def _continues(text: str, position: int) -> bool:
    """Whether the character at `position` belongs to the one before (accents, vowel signs, joiners)."""
    if position >= len(text):
        return False
    return unicodedata.category(text[position])[0] == "M" or "\u200d" in text[position - 1 : position + 1]


def _token_starts(text: str, tokens: TokenCounter) -> "array[int]":
    starts = array("L")
    window_start = 0
    previous = 0
    while window_start < len(text):
        window_end = _window_end(text, window_start)
        for offset, _ in tokens.token_offsets(text[window_start:window_end]):
            position = window_start + offset
            if position - previous > _MAX_GAP_CHARACTERS:
                starts.extend(range(previous + _GAP_STEP_CHARACTERS, position, _GAP_STEP_CHARACTERS))
            starts.append(position)
            previous = position
        window_start = window_end
    starts.extend(range(previous + _GAP_STEP_CHARACTERS, len(text), _GAP_STEP_CHARACTERS))
    return starts


def _window_end(text: str, start: int) -> int:
    end = start + _WINDOW_CHARACTERS
    if end >= len(text):
        return len(text)
    for blank in ("\n", " "):
        cut = text.rfind(blank, start + 1, end)
        if cut > 0:
            return cut
    return end
