"""Sections of source code: one per definition, told by its first line and its indentation.

The rules know the words that open a definition in the common languages, not their grammars: forty grammars
would be forty compiled dependencies, and what a chunk needs is where a definition starts, ends and is named.
"""

import re
from collections.abc import Iterator

from quarry_indexer.chunking.lines import Line, lines_of
from quarry_indexer.chunking.section import Block, Section, SectionBuilder

_MODIFIERS = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([^)]*\))?|"
    r"unsafe|const|virtual|override|open|sealed|data|inline|partial|declare|extern|suspend|local)\s+)*"
)
_NAMED = re.compile(
    rf"{_MODIFIERS}(?:class|struct|enum|trait|interface|impl|module|namespace|record|object|protocol|extension|"
    r"def|func|fn|fun|function|sub|macro_rules!|message|service|resource|"
    r"create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure|index|trigger|type)(?:\s+if\s+not\s+exists)?)"
    r"\*?\s+(?:\([^)]*\)\s*)?[\"'`]?([A-Za-z_$][\w$.:]*)",
    re.IGNORECASE,
)
_BRACED = re.compile(r"[A-Za-z_][\w:<>,*&\[\] \t]*?[ \t*&]([A-Za-z_~]\w*)\s*\([^;]*$")
_ASSIGNED = re.compile(
    r"(?:export\s+)?(?:const|let|var)\s+(\w+)\s*=\s*(?:async\s*)?(?:function\b|\([^)]*\)\s*=>|\w+\s*=>)"
)
_CONTROL = re.compile(
    r"(?:if|else|elif|for|while|switch|case|return|do|try|catch|with|match|throw|new|await|yield|import|from|"
    r"using|use|assert|raise|del|print|and|or|not|in|lambda|echo|then|when)\b"
)
_LEAD = re.compile(r"@|#\[|//|/\*|\*|#|--|;;|\"\"\"|template\b")
_CLOSER = re.compile(r"[)\]}]|end\b|else\b|elif\b|except\b|finally\b|catch\b")
_MAX_LINE_CHARACTERS = 300


def code_sections(text: str) -> Iterator[Section]:
    """Yield the sections of source code; a definition keeps the comments and decorators above it."""
    builder = SectionBuilder()
    block = _Lines()
    lead = _Lines()
    for line in lines_of(text):
        stripped = line.content.strip()
        if not stripped:
            block.extend(lead)
            block.flush(builder)
        elif name := _definition(stripped):
            block.flush(builder)
            builder.heading(_indent(line.content), name, None)
            block.extend(lead)
            block.add(line)
        elif _LEAD.match(stripped):
            lead.add(line)
        else:
            block.extend(lead)
            level = builder.open_level()
            if level is not None and not _CLOSER.match(stripped):
                indent = _indent(line.content)
                if indent <= level:
                    block.flush(builder)
                    builder.close(indent)
            block.add(line)
        yield from builder.take()
    block.extend(lead)
    block.flush(builder)
    yield from builder.finish()


class _Lines:
    """Neighbouring lines, of which only the bounds are kept."""

    def __init__(self) -> None:
        self._bounds: tuple[int, int] | None = None

    def add(self, line: Line) -> None:
        self._bounds = (self._bounds[0] if self._bounds else line.start, line.end)

    def extend(self, other: "_Lines") -> None:
        """Take the lines of `other`, which follow."""
        if other._bounds:
            self._bounds = (self._bounds[0] if self._bounds else other._bounds[0], other._bounds[1])
            other._bounds = None

    def flush(self, builder: SectionBuilder) -> None:
        if self._bounds:
            builder.add(Block(*self._bounds, "lines"))
            self._bounds = None


def _definition(stripped: str) -> str | None:
    """The name that a line defines, if it opens a definition."""
    if len(stripped) > _MAX_LINE_CHARACTERS or _CONTROL.match(stripped):
        return None
    for rule in (_NAMED, _ASSIGNED):
        if found := rule.match(stripped):
            return found[1].rstrip(".:")
    if stripped.endswith(("{", ")")) and "=" not in stripped and (found := _BRACED.match(stripped)):
        return found[1].rstrip(".:")
    return None


def _indent(content: str) -> int:
    expanded = content.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())
