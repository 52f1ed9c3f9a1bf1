"""What chunking takes and gives."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from quarry_common.errors import QuarryError


class ChunkOptionsError(QuarryError):
    """The chunk size or overlap of a collection makes no sense."""

    code = "chunk_options_invalid"
    status = 422
    title = "The chunk settings are not valid"
    advice = "Take 16 to 8192 tokens per chunk and an overlap of at most half of that."


class ChunkOptions(msgspec.Struct, frozen=True):
    """How large chunks are, in tokens of the embedder. Raises `ChunkOptionsError`.

    The defaults leave room in a window of 256 for a title and heading path in front of the text.
    """

    max_tokens: int = 200
    overlap_tokens: int = 30

    def __post_init__(self) -> None:
        if not 16 <= self.max_tokens <= 8192 or not 0 <= self.overlap_tokens <= self.max_tokens // 2:
            raise ChunkOptionsError(
                f"{self.max_tokens} tokens per chunk with an overlap of {self.overlap_tokens} cannot be cut."
            )


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """A passage, `parsed.text[char_start:char_end]`, which is `parsed.text.encode()[byte_start:byte_end]`."""

    ordinal: int
    """Position in the document, from 0."""
    heading_path: tuple[str, ...]
    """Headings above the passage, outermost first, of the section that holds most of it.

    For a passage from within a table, the last entry is the table's header row; for source code, the
    entries are the names of the enclosing definitions.
    """
    page: int | None
    """Number of the page (or slide) that holds most of the passage."""
    char_start: int
    char_end: int
    byte_start: int
    """Where the same passage lies in the text's UTF-8, so that it can be read without the rest."""
    byte_end: int
    token_count: int
    """Tokens of the passage as the embedder counts them, without special tokens; never above the maximum."""


class TokenCounter(Protocol):
    """The part of an embedder that chunking needs."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each whole text has, without special tokens."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of every token of the whole text, in characters."""
