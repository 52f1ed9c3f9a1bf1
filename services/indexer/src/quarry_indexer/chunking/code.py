"""Sections of source code: one per definition, told by its first line and its indentation.

The rules know the words that open a definition in the common languages, not their grammars: forty grammars
would be forty compiled dependencies, and what a chunk needs is where a definition starts, ends and is named.
"""

import re

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
_BRACED = re.compile(r"[A-Za-z_][\w:<>,*&\[\] \t]*?[ \t*&]([A-Za-z_~]\w*)\s*\([^;]*\)?[^;]*\{?\s*$")
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


def code_sections(text: str) -> list[Section]:
    """Return the sections of source code; a definition keeps the comments and decorators above it."""
    builder = SectionBuilder()
    block: list[Line] = []
    lead: list[Line] = []

    def flush() -> None:
        if block:
            builder.add(Block(block[0].start, block[-1].end, "lines"))
        block.clear()

    for line in lines_of(text):
        stripped = line.content.strip()
        if not stripped:
            block += lead
            lead.clear()
            flush()
            continue
        indent = _indent(line.content)
        name = _definition(stripped)
        if name:
            flush()
            builder.heading(indent, name, None)
            block += [*lead, line]
            lead.clear()
        elif _LEAD.match(stripped):
            lead.append(line)
        else:
            block += lead
            lead.clear()
            level = builder.open_level()
            if level is not None and indent <= level and not _CLOSER.match(stripped):
                flush()
                builder.close(indent)
            block.append(line)
    block += lead
    flush()
    return builder.finish()


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
