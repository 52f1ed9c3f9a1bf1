"""HTML to Markdown."""

import html
import re

import kreuzberg

from quarry_indexer.parsing.cleaning import clean_markdown
from quarry_indexer.parsing.errors import refuse_large
from quarry_indexer.parsing.extracted import Extracted, first_heading
from quarry_indexer.parsing.tags import BLOCKS, well_formed

_HEAD_CHARACTERS = 65_536
"""Where the head is looked for."""
_LANGUAGE = re.compile(r"<html\b[^<>]*?\blang\s*=\s*[\"']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)", re.IGNORECASE)
_META = re.compile(r"<meta\b[^<>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(name|property|content)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_META_NAMES = {"author", "description", "keywords", "date", "generator", "article:published_time"}
_ANY_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9:-]{0,40})[^>]*>")


def extract_html(source: str, max_text_bytes: int) -> Extracted:
    """Return the body as Markdown; title, language and the usual meta tags from the head."""
    title = _element(source, "title")
    language = _LANGUAGE.search(source[:4096])
    text = html_to_markdown(source, max_text_bytes)
    return Extracted(
        text,
        title=html.unescape(source[title[1] : title[2]]) if title else first_heading(text),
        metadata=_meta_tags(source),
        language=language[1] if language else None,
    )


def html_to_markdown(source: str, max_text_bytes: int) -> str:
    """Return HTML as Markdown. Raises `DocumentTooLargeError` above the limit."""
    # The head would come back as a broken front matter.
    head = _element(source, "head")
    body = source[: head[0]] + source[head[3] :] if head else source
    parts: list[str] = []
    characters = 0
    for piece in well_formed(body):
        if part := _converted(piece):
            parts.append(part)
            characters += len(part)
            # Quotes and lists within each other indent every line: little HTML may be much Markdown.
            refuse_large(characters, max_text_bytes)
    return "\n\n".join(parts)


def _converted(piece: str) -> str:
    """One piece as Markdown; what the converter refuses falls back to bare text."""
    config = kreuzberg.ExtractionConfig(
        use_cache=False, output_format="markdown", enable_quality_processing=False
    )
    try:
        markdown = kreuzberg.extract_bytes_sync(piece.encode("utf-8", "replace"), "text/html", config).content
    except kreuzberg.KreuzbergError:
        markdown = ""
    return clean_markdown(markdown) if markdown.strip() else _bare_text(piece)


def _bare_text(piece: str) -> str:
    """Return the text between the tags of a piece that is well-formed."""
    lines = (" ".join(line.split()) for line in html.unescape(_ANY_TAG.sub(_line_end, piece)).split("\n"))
    return "\n\n".join(line for line in lines if line)


def _line_end(tag: re.Match[str]) -> str:
    return "\n" if tag[1].lower() in BLOCKS or tag[1].lower() == "br" else ""


def _element(source: str, name: str) -> tuple[int, int, int, int] | None:
    """Return the bounds of the first element `name` near the start and of its content."""
    opened = re.search(rf"<{name}\b", source[:_HEAD_CHARACTERS], re.IGNORECASE)
    start = source.find(">", opened.end()) + 1 if opened else 0
    closed = re.compile(rf"</{name}\s{{0,9}}>", re.IGNORECASE).search(source, start) if start else None
    return (opened.start(), start, closed.start(), closed.end()) if opened and closed else None


def _meta_tags(source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in _META.findall(source[:_HEAD_CHARACTERS]):
        attributes = {name.lower(): quoted or single for name, quoted, single in _ATTRIBUTE.findall(tag)}
        name = (attributes.get("name") or attributes.get("property") or "").lower()
        if name in _META_NAMES and attributes.get("content"):
            found[name.rsplit(":", 1)[-1]] = html.unescape(attributes["content"])[:1000]
    return found
