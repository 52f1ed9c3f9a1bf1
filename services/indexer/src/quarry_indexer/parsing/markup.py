"""HTML to Markdown."""

import html
import re

import kreuzberg

from quarry_indexer.parsing.cleaning import clean_markdown
from quarry_indexer.parsing.extracted import Extracted, first_heading

_HEAD_CHARACTERS = 65_536
"""Where the head is looked for."""
_LANGUAGE = re.compile(r"<html\b[^<>]*?\blang\s*=\s*[\"']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)", re.IGNORECASE)
_META = re.compile(r"<meta\b[^<>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(name|property|content)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_META_NAMES = {"author", "description", "keywords", "date", "generator", "article:published_time"}
_SILENT = {
    name: re.compile(rf"</{name}\b", re.IGNORECASE)
    for name in ("script", "style", "noscript", "template", "svg")
}
_TAG = re.compile(r"<(/?)([a-zA-Z!?][a-zA-Z0-9]{0,20})")
_BLOCKS = {"p", "div", "br", "li", "tr", "section", "article", "h1", "h2", "h3", "h4", "h5", "h6", "pre"}


def extract_html(source: str) -> Extracted:
    """Return the body as Markdown; title, language and the usual meta tags from the head."""
    title = _element(source, "title")
    language = _LANGUAGE.search(source[:4096])
    text = html_to_markdown(source)
    return Extracted(
        text,
        title=html.unescape(source[title[1] : title[2]]) if title else first_heading(text),
        metadata=_meta_tags(source),
        language=language[1] if language else None,
    )


def html_to_markdown(source: str) -> str:
    """Return HTML as Markdown; nesting that the converter refuses falls back to bare text."""
    # The head would come back as a broken front matter.
    head = _element(source, "head")
    body = source[: head[0]] + source[head[3] :] if head else source
    config = kreuzberg.ExtractionConfig(
        use_cache=False, output_format="markdown", enable_quality_processing=False
    )
    try:
        markdown = kreuzberg.extract_bytes_sync(body.encode("utf-8", "replace"), "text/html", config).content
    except kreuzberg.KreuzbergError:
        markdown = ""
    return clean_markdown(markdown) if markdown.strip() else _bare_text(body)


def _bare_text(source: str) -> str:
    """Return the text between tags, in one pass whatever the source: what is never closed ends it."""
    parts: list[str] = []
    at = 0
    while (opened := source.find("<", at)) >= 0:
        parts.append(source[at:opened])
        at = _after_markup(source, opened, parts)
    parts.append(source[at:])
    lines = (" ".join(line.split()) for line in html.unescape("".join(parts)).split("\n"))
    return "\n\n".join(line for line in lines if line)


def _after_markup(source: str, opened: int, parts: list[str]) -> int:
    """Return where the text goes on after the `<` at `opened`."""
    if source.startswith("<!--", opened):
        closed = source.find("-->", opened + 4)
        return closed + 3 if closed >= 0 else len(source)
    tag = _TAG.match(source, opened)
    if tag is None:
        parts.append("<")
        return opened + 1
    name = tag[2].lower()
    if name in _BLOCKS:
        parts.append("\n")
    closed = source.find(">", tag.end())
    if closed >= 0 and name in _SILENT and not tag[1]:
        end = _SILENT[name].search(source, closed)
        closed = source.find(">", end.end()) if end else -1
    return closed + 1 if closed >= 0 else len(source)


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
