"""The parts of a document that chunks are made of."""

from collections.abc import Iterator
from typing import Literal

import msgspec

BlockKind = Literal["prose", "lines", "rows"]
"""How a block is cut where it does not fit: at sentences, at lines, or at whole rows (then lines)."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """A paragraph, table, fence or the like: `text[start:end]`, kept whole where it fits."""

    start: int
    end: int
    kind: BlockKind = "prose"
    header: str = ""
    """Header row of a table."""
    rows: tuple[int, ...] = ()
    """Ends of the rows, where lines are not rows."""


class Section(msgspec.Struct, frozen=True, gc=False):
    """Blocks under one heading, its own line included."""

    path: tuple[str, ...]
    blocks: tuple[Block, ...]
    has_body: bool
    """False for a heading with nothing under it."""

    @property
    def start(self) -> int:
        """Character where the section begins."""
        return self.blocks[0].start

    @property
    def end(self) -> int:
        """Character where the section ends."""
        return self.blocks[-1].end


class SectionBuilder:
    """Collects blocks and headings in document order; what is finished is taken from it as it grows."""

    def __init__(self) -> None:
        self._sections: list[Section] = []
        self._stack: list[tuple[int, str]] = []
        self._blocks: list[Block] = []
        self._has_body = False

    def heading(self, level: int, title: str, block: Block | None) -> None:
        """Open the section under a heading of `level`; `block` is the heading's own text."""
        self.close(level)
        self._stack.append((level, " ".join(title.split())[:MAX_HEADING_CHARACTERS]))
        if block:
            self._blocks.append(block)

    def close(self, level: int) -> None:
        """End the sections of `level` and below."""
        self._flush()
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()

    def open_level(self) -> int | None:
        """Return the level of the innermost open heading."""
        return self._stack[-1][0] if self._stack else None

    def add(self, block: Block) -> None:
        """Add a block to the open section."""
        self._blocks.append(block)
        self._has_body = True
        if len(self._blocks) >= MAX_BLOCKS:
            self._flush()

    def take(self) -> Iterator[Section]:
        """Yield the sections that are finished."""
        if self._sections:
            finished, self._sections = self._sections, []
            yield from finished

    def finish(self) -> Iterator[Section]:
        """Yield all that is left."""
        self._flush()
        yield from self.take()

    def _flush(self) -> None:
        if self._blocks:
            levels = self._stack
            if len(levels) > MAX_HEADINGS:
                levels = [*levels[: MAX_HEADINGS - 1], levels[-1]]
            path = tuple(title for _, title in levels)
            self._sections.append(Section(path, tuple(self._blocks), self._has_body))
        self._blocks = []
        self._has_body = False


MAX_BLOCKS = 10_000
"""A section of more is given in parts, so that a text without headings is never held in blocks as a whole."""
MAX_HEADINGS = 8
"""What is kept of a heading path: the outermost and the innermost."""
MAX_HEADER_CHARACTERS = 2000
"""What is looked at of a table's header row."""
MAX_HEADING_CHARACTERS = 200
"""What is kept of a heading or a header row in a heading path."""
