"""HTML as people write it to pieces that are well-formed, small and flat.

The converter takes an element that was never closed for the parent of all that follows, drops what nests
deeper than some sixty elements, and takes up to ninety times the memory of its input. So the ends that HTML
implies are written out, what nests too deep is flattened, and a long source is cut: each piece closes what is
open, and the next opens it again.
"""

import re
from collections import Counter
from collections.abc import Iterator

MAX_DEPTH = 40
_PIECE_CHARACTERS = 1024 * 1024

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})")
_VOID = frozenset({
    "area", "base", "basefont", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta",
    "param", "source", "track", "wbr",
})  # fmt: skip
DROPPED = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in ("script", "style", "template")}
"""Elements whose content is no text, each with what ends it."""
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "center", "details", "dir", "div", "dl",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "header", "hr", "li", "main", "menu", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
})  # fmt: skip
_ENDS_PARAGRAPH = BLOCKS - {"li", "tr"}
_CELL = frozenset(("table", "td", "th", "caption"))
# What the start of an element ends, and what must not lie between: HTML, "optional tags" (section 13.1.2.4).
_IMPLIED_ENDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "li": (frozenset(("li",)), frozenset(("ul", "ol", "menu", "dir")) | _CELL),
    "dt": (frozenset(("dt", "dd")), frozenset(("dl",)) | _CELL),
    "dd": (frozenset(("dt", "dd")), frozenset(("dl",)) | _CELL),
    "td": (frozenset(("td", "th")), frozenset(("table",))),
    "th": (frozenset(("td", "th")), frozenset(("table",))),
    "tr": (frozenset(("tr",)), frozenset(("table",))),
    "option": (frozenset(("option",)), frozenset(("select",))),
    **{
        name: (frozenset(("thead", "tbody", "tfoot", "caption")), frozenset(("table",)))
        for name in ("thead", "tbody", "tfoot")
    },
    **{name: (frozenset(("p",)), _CELL) for name in _ENDS_PARAGRAPH},
}


def well_formed(source: str) -> Iterator[str]:
    """Yield `source` in pieces of about a million characters, each of them well-formed."""
    writer = _Writer()
    at = 0
    while (opened := source.find("<", at)) >= 0:
        writer.text(source, at, opened)
        yield from writer.take()
        at = _after_tag(source, opened, writer)
    writer.text(source, at, len(source))
    yield from writer.take()
    yield from writer.finish()


def _after_tag(source: str, opened: int, writer: "_Writer") -> int:
    """Write the tag at `opened`; return where the text goes on."""
    if source.startswith(("<!", "<?"), opened):
        mark = "-->" if source.startswith("<!--", opened) else ">"
        closed = source.find(mark, opened + 2)
        return closed + len(mark) if closed >= 0 else len(source)
    tag = _TAG.match(source, opened)
    if tag is None:
        writer.write("&lt;")
        return opened + 1
    closed = _tag_end(source, tag.end())
    if closed < 0:
        return len(source)
    name, raw = tag[2].lower(), source[opened : closed + 1]
    if tag[1]:
        writer.end(name)
    elif name in _VOID:
        writer.write(raw)
    elif raw.endswith("/>"):
        writer.empty(name, raw)
    elif name in DROPPED:
        end = DROPPED[name].search(source, closed)
        closed = source.find(">", end.end()) if end else -1
        return closed + 1 if closed >= 0 else len(source)
    else:
        writer.start(name, raw)
    return closed + 1


def _tag_end(source: str, at: int) -> int:
    """Return where the tag closes; a `>` within quotes does not close it."""
    closed = source.find(">", at)
    while closed >= 0 and source.count('"', at, closed) % 2:
        quote = source.find('"', closed)
        if quote < 0:
            break
        at, closed = quote + 1, source.find(">", quote + 1)
    return closed


class _Writer:
    """Keeps the open elements and the pieces that are finished."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._characters = 0
        self._open: list[str] = []
        self._counts: Counter[str] = Counter()
        self._flattened: Counter[str] = Counter()
        self._finished: list[str] = []

    def take(self) -> Iterator[str]:
        """Yield the pieces that are finished."""
        if self._finished:
            finished, self._finished = self._finished, []
            yield from finished

    def finish(self) -> Iterator[str]:
        """Yield what is left."""
        self._cut()
        yield from self.take()

    def write(self, part: str) -> None:
        self._parts.append(part)
        self._characters += len(part)

    def text(self, source: str, start: int, end: int) -> None:
        while end - start > _PIECE_CHARACTERS:
            self.write(source[start : start + _PIECE_CHARACTERS])
            start += _PIECE_CHARACTERS
            self._cut()
        if start < end:
            self.write(source[start:end])

    def start(self, name: str, raw: str) -> None:
        ended, barriers = _IMPLIED_ENDS.get(name, _NOTHING)
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place] in ended:
                self._close_to(place)
                break
            if self._open[place] in barriers:
                break
        if self._characters >= _PIECE_CHARACTERS and (
            name in BLOCKS or self._characters >= 2 * _PIECE_CHARACTERS
        ):
            self._cut()
        if len(self._open) >= MAX_DEPTH:
            self._flattened[name] += 1
            self.write("<br>" if name in BLOCKS else "")
            return
        self._open.append(name)
        self._counts[name] += 1
        self.write(raw)

    def empty(self, name: str, raw: str) -> None:
        """Write an element that its own tag closes."""
        if name not in DROPPED and len(self._open) < MAX_DEPTH:
            self.write(f"{raw[:-2]}></{name}>")

    def end(self, name: str) -> None:
        if self._flattened[name]:
            self._flattened[name] -= 1
            self.write("<br>" if name in BLOCKS else "")
        elif self._counts[name]:
            self._flattened.clear()
            self._close_to(len(self._open) - 1 - self._open[::-1].index(name))

    def _close_to(self, place: int) -> None:
        """End the open elements from `place` on."""
        while len(self._open) > place:
            name = self._open.pop()
            self._counts[name] -= 1
            self.write(f"</{name}>")

    def _cut(self) -> None:
        """Finish a piece; the next begins with what is open."""
        self._parts += [f"</{name}>" for name in reversed(self._open)]
        self._finished.append("".join(self._parts))
        self._parts = [f"<{name}>" for name in self._open]
        self._characters = 0


_NOTHING: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
