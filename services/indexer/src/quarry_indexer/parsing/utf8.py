"""The size of text in UTF-8, counted in slices: the whole is never encoded at once."""

from collections.abc import Iterator

SLICE_CHARACTERS = 256 * 1024
"""What is encoded at a time: at most 1 MiB of UTF-8."""


def utf8_slices(text: str) -> Iterator[bytes]:
    """Yield `text` in UTF-8, in pieces of at most 1 MiB that end between characters."""
    for start in range(0, len(text), SLICE_CHARACTERS):
        yield text[start : start + SLICE_CHARACTERS].encode()


def utf8_length(text: str) -> int:
    """Return how many bytes `text` has in UTF-8."""
    return len(text) if text.isascii() else sum(map(len, utf8_slices(text)))


class ByteOffsets:
    """Byte offsets of characters that are asked for in ascending order: one pass over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._is_ascii = text.isascii()
        self._character = 0
        self._byte = 0

    def of(self, start: int, end: int) -> tuple[int, int]:
        """Return where `text[start:end]` begins and ends in UTF-8; `start` is never before the last one."""
        if self._is_ascii:
            return start, end
        self._byte += utf8_length(self._text[self._character : start])
        self._character = start
        return self._byte, self._byte + utf8_length(self._text[start:end])
