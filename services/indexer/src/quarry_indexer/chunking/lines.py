"""Walking over the lines of a text without copying it."""

from collections.abc import Iterator
from typing import NamedTuple


class Line(NamedTuple):
    """`text[start:end]`, without its line end."""

    start: int
    end: int
    content: str


def lines_of(text: str, start: int = 0, end: int | None = None) -> Iterator[Line]:
    """Yield every line of `text[start:end]`."""
    stop = len(text) if end is None else end
    while start < stop:
        cut = text.find("\n", start, stop)
        cut = stop if cut < 0 else cut
        yield Line(start, cut, text[start:cut])
        start = cut + 1


class LineCursor:
    """A walk over the lines of a text that sees the line it is at and the one after."""

    def __init__(self, text: str) -> None:
        self._lines = lines_of(text)
        self.line: Line | None = None
        self.after: Line | None = None
        self.step()
        self.step()

    def step(self) -> None:
        """Go to the next line."""
        self.line, self.after = self.after, next(self._lines, None)
