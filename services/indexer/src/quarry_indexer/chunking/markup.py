"""Sections and blocks of Markdown, reStructuredText, Org and plain text, found line by line."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

from quarry_indexer.chunking.lines import Line, LineCursor
from quarry_indexer.chunking.section import (
    MAX_HEADER_CHARACTERS,
    Block,
    BlockKind,
    Section,
    SectionBuilder,
)

Heading = tuple[int, str]
HeadingRule = Callable[[Line, Line | None], Heading | None]
"""Whether a line, with the line after it, is a heading: its level and title."""

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_LIST = re.compile(r"[ \t]*(?:[-*+>|]|\d+[.)])")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_RST_RULE = re.compile(r"([=\-~^\"'`#*+:._<>])\1{2,}[ \t]*$")
_ORG_HEADING = re.compile(r"(\*+)[ \t]+(?:(?:TODO|DONE)[ \t]+)?(\S.*)$")
_ORG_BEGIN = re.compile(r"[ \t]*#\+begin_(\w+)", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d{1,3}(?:\.\d{1,3}){0,5})\.?[ \t]+\S.{0,100}(?<![.,;:\u3002])$")
_CHAPTER = re.compile(r"(?:第 ?\d{1,3} ?[章编編部]|(?:Chapter|Kapitel|Part) \d{1,3}\b).{0,100}(?<![.,;:。])$")
_OUTLINE = re.compile(r"(?<=\n\n)\d{1,3}(?:\.\d{1,3}){1,5}\.?[ \t]+\S.{0,100}\n\n")
_LEAST_OUTLINE = 3
_SENTENCE_HEADING_CHARACTERS = 60


def markdown_sections(text: str, setext: bool) -> Iterator[Section]:
    """Yield the sections of Markdown; `setext` also takes underlined lines for headings."""

    def rule(line: Line, after: Line | None) -> Heading | None:
        if found := _ATX.match(line.content):
            # Some writers style whole paragraphs as headings.
            title = found[2].rstrip(" \t#") or found[2]
            is_sentence = len(title) > _SENTENCE_HEADING_CHARACTERS and title[-1] in ".,;:"
            return None if is_sentence else (len(found[1]), title)
        if setext and after and (under := _SETEXT.match(after.content)) and not _LIST.match(line.content):
            return (1 if under[1][0] == "=" else 2), line.content.strip()
        return None

    return _scan(text, rule, underlined=setext)


def rst_sections(text: str) -> Iterator[Section]:
    """Yield the sections of reStructuredText; a title's level is the rank of its underline's sign."""
    ranks: dict[str, int] = {}

    def rule(line: Line, after: Line | None) -> Heading | None:
        under = _RST_RULE.match(after.content) if after else None
        title = line.content.strip()
        if not under or _RST_RULE.match(line.content) or len(under[0].rstrip()) < min(len(title), 4):
            return None
        return ranks.setdefault(under[1], len(ranks) + 1), title

    return _scan(text, rule, underlined=True)


def org_sections(text: str) -> Iterator[Section]:
    """Yield the sections of an Org file."""

    def rule(line: Line, _after: Line | None) -> Heading | None:
        found = _ORG_HEADING.match(line.content)
        return (len(found[1]), found[2]) if found else None

    return _scan(text, rule, underlined=False)


def numbered_sections(text: str) -> Iterator[Section]:
    """Yield the sections of plain text under numbered titles ("3.4. Scope"), each a paragraph of its own.

    A text whose numbers have only one level has lists, not titles.
    """
    if sum(1 for _ in islice(_OUTLINE.finditer(text), _LEAST_OUTLINE)) < _LEAST_OUTLINE:
        return plain_sections(text)

    def rule(line: Line, after: Line | None) -> Heading | None:
        if after and after.content.strip():
            return None
        if _CHAPTER.match(line.content):
            return 1, line.content.strip()
        found = _NUMBERED.match(line.content)
        if not found:
            return None
        return found[1].count(".") + 1, line.content.strip()

    return _scan(text, rule, underlined=False, plain="prose")


def plain_sections(text: str, kind: BlockKind = "prose") -> Iterator[Section]:
    """Yield text without headings as one section of paragraphs."""
    return _scan(text, lambda _line, _after: None, underlined=False, plain=kind)


def _scan(
    text: str, rule: HeadingRule, *, underlined: bool, plain: BlockKind | None = None
) -> Iterator[Section]:
    builder = SectionBuilder()
    lines = LineCursor(text)
    while line := lines.line:
        if not line.content.strip():
            lines.step()
        elif heading := rule(line, lines.after):
            end = line.end
            if underlined and lines.after and not _ATX.match(line.content):
                end = lines.after.end
                lines.step()
            builder.heading(*heading, Block(line.start, end))
            lines.step()
        else:
            builder.add(_block(lines, line, rule, plain))
        yield from builder.take()
    yield from builder.finish()


def _block(lines: LineCursor, first: Line, rule: HeadingRule, plain: BlockKind | None) -> Block:
    """The block that begins with the line `first`; the cursor goes to the line after it."""
    if plain is None:
        if closing := _closing(first):
            return _fence(lines, first, closing)
        if first.content.lstrip().startswith("|"):
            return _table(lines, first)
    end = first.end
    lines.step()
    while (line := lines.line) and _joins(line, lines.after, rule, plain):
        end = line.end
        lines.step()
    return Block(first.start, end, plain or "prose")


def _joins(line: Line, after: Line | None, rule: HeadingRule, plain: BlockKind | None) -> bool:
    """Whether `line` goes on with the paragraph before it."""
    if not line.content.strip():
        return False
    if plain is not None:
        return True
    return not (line.content.lstrip().startswith("|") or _closing(line) or rule(line, after))


def _closing(line: Line) -> Callable[[str], bool] | None:
    """If `line` opens a fence, the test for the line that closes it."""
    if found := _FENCE.match(line.content):
        mark = found[1]
        return lambda content: content.strip().startswith(mark) and not content.strip().strip(mark[0])
    if found := _ORG_BEGIN.match(line.content):
        end = f"#+end_{found[1]}".lower()
        return lambda content: content.strip().lower().startswith(end)
    return None


def _fence(lines: LineCursor, first: Line, closing: Callable[[str], bool]) -> Block:
    last = first
    lines.step()
    while line := lines.line:
        last = line
        lines.step()
        if closing(line.content):
            break
    return Block(first.start, last.end, "lines")


def _table(lines: LineCursor, first: Line) -> Block:
    has_header = lines.after and _TABLE_RULE.match(lines.after.content[:2000])
    header = first.content[:MAX_HEADER_CHARACTERS].strip().strip("|").strip() if has_header else ""
    last = first
    lines.step()
    while (line := lines.line) and line.content.lstrip().startswith("|"):
        last = line
        lines.step()
    return Block(first.start, last.end, "lines", header=header)
