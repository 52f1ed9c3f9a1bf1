"""Where the tokens of a document begin, so that any span is counted without tokenizing it again."""

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from quarry_indexer.chunking.chunk import TokenCounter

_WINDOW_CHARACTERS = 32_768
_BLANKS = " \n\t\r"
"""What parts words for every tokenizer: no token reaches over one."""
_WORD = re.compile(r"[^ \n\t\r]+")
_MAX_KNOWN_WORDS = 100_000
_MAX_KNOWN_CHARACTERS = 64
# A word that the tokenizer gives up on is one "unknown" token however long it is. Counting a token for every
# few characters of such a stretch keeps a chunk readable and storable, not only embeddable.
_MAX_GAP_CHARACTERS = 32
_GAP_STEP_CHARACTERS = 16


class TokenIndex:
    """Token starts of one text, counted in the whole: a cut within a word may change the count."""

    def __init__(self, text: str, tokens: TokenCounter) -> None:
        self._text = text
        self._starts: array[int] = array("I")
        self._guesses: array[int] = array("I")
        """Characters at which the count is not the tokenizer's own: steps of a gap, cuts of a window."""
        self._fill(tokens)

    def before(self, position: int) -> int:
        """Return how many tokens begin before the character `position`."""
        return bisect_left(self._starts, position)

    def count(self, start: int, end: int) -> int:
        """Return how many tokens begin in `text[start:end]`."""
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def is_exact(self, start: int, end: int) -> bool:
        """Whether `count(start, end)` is what the tokenizer says of `text[start:end]` alone."""
        text = self._text
        return (
            (start == 0 or text[start - 1] in _BLANKS)
            and (end == len(text) or text[end] in _BLANKS)
            and bisect_left(self._guesses, start) == bisect_left(self._guesses, end)
        )

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

    def _fill(self, tokens: TokenCounter) -> None:
        """Tokenize every word once: words repeat, and a dictionary is faster than a tokenizer."""
        text, starts, known = self._text, self._starts, _KnownWords(tokens)
        reached = 0
        for window_start, window_end in _windows(text):
            if window_start and text[window_start] not in _BLANKS:
                self._guesses.append(window_start)
            words = [(word.start(), word[0]) for word in _WORD.finditer(text, window_start, window_end)]
            for (start, word), offsets in zip(words, known.offsets([word for _, word in words]), strict=True):
                if start - reached > _MAX_GAP_CHARACTERS or len(word) > _MAX_GAP_CHARACTERS:
                    reached = self._fill_gaps(start, len(word), offsets, reached)
                elif offsets:
                    starts.extend([start + offset for offset in offsets])
                    reached = starts[-1]
        self._step(reached, len(text))

    def _fill_gaps(self, start: int, length: int, offsets: tuple[int, ...], reached: int) -> int:
        """Add the tokens of a word where gaps may be; return the last start."""
        for offset in offsets:
            position = start + offset
            if position - reached > _MAX_GAP_CHARACTERS:
                self._step(reached, position)
            self._starts.append(position)
            reached = position
        return self._step(reached, start + length) if length > _MAX_GAP_CHARACTERS else reached

    def _step(self, start: int, end: int) -> int:
        """Count a token for every few characters between `start` and `end`; return the last of them."""
        steps = range(start + _GAP_STEP_CHARACTERS, end, _GAP_STEP_CHARACTERS)
        self._starts.extend(steps)
        self._guesses.extend(steps)
        return steps[-1] if steps else start


def _continues(text: str, position: int) -> bool:
    """Whether the character at `position` belongs to the one before (accents, vowel signs, joiners)."""
    if position >= len(text):
        return False
    return unicodedata.category(text[position])[0] == "M" or "\u200d" in text[position - 1 : position + 1]


class _KnownWords:
    """Offsets of the tokens within each word, kept for short words."""

    def __init__(self, tokens: TokenCounter) -> None:
        self._tokens = tokens
        self._known: dict[str, tuple[int, ...]] = {}

    def offsets(self, words: list[str]) -> Iterator[tuple[int, ...]]:
        """Return for each word where its tokens begin in it."""
        known = self._known
        new = [word for word in dict.fromkeys(words) if word not in known]
        found = dict(zip(new, self._tokenize(new), strict=True))
        if len(known) + len(new) > _MAX_KNOWN_WORDS:
            found.update((word, known[word]) for word in words if word in known)
            known.clear()
        known.update((word, found[word]) for word in new if len(word) <= _MAX_KNOWN_CHARACTERS)
        return (known[word] if word in known else found[word] for word in words)

    def _tokenize(self, words: list[str]) -> Iterator[tuple[int, ...]]:
        starts = [start for start, _ in self._tokens.token_offsets("\n".join(words))]
        base = at = 0
        for word in words:
            end = base + len(word)
            last = bisect_left(starts, end, at)
            yield tuple(start - base for start in starts[at:last])
            base, at = end + 1, last


def _windows(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = _window_end(text, start)
        yield start, end
        start = end


def _window_end(text: str, start: int) -> int:
    end = start + _WINDOW_CHARACTERS
    if end >= len(text):
        return len(text)
    for blank in ("\n", " "):
        cut = text.rfind(blank, start + 1, end)
        if cut > 0:
            return cut
    return end
