"""The parts of a document that chunks are made of."""

from typing import Literal

import msgspec

BlockKind = Literal["prose", "lines", "rows"]
"""How a block is cut where it does not fit: at sentences, at lines, or at whole rows (then lines)."""


class Block(msgspec.Struct, frozen=True):
    """A paragraph, table, fence or the like: `text[start:end]`, kept whole where it fits."""

    start: int
    end: int
    kind: BlockKind = "prose"
    header: str = ""
    """Header row of a table."""
    rows: tuple[int, ...] = ()
    """Ends of the rows, where lines are not rows."""


class Section(msgspec.Struct, frozen=True):
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
    """Collects blocks and headings in document order."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
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

    def finish(self) -> list[Section]:
        """Return all sections."""
        self._flush()
        return self.sections

    def _flush(self) -> None:
        if self._blocks:
            path = tuple(title for _, title in self._stack)
            self.sections.append(Section(path, tuple(self._blocks), self._has_body))
        self._blocks = []
        self._has_body = False


MAX_HEADING_CHARACTERS = 200
"""What is kept of a heading or a header row in a heading path."""
