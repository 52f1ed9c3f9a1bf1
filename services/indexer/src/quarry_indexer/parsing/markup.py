"""HTML to Markdown."""

import html
import re
from html.parser import HTMLParser

import kreuzberg

from quarry_indexer.parsing.cleaning import clean_markdown
from quarry_indexer.parsing.extracted import Extracted, first_heading

_HEAD = re.compile(r"<head\b[^>]*>.*?</head\s*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title\b[^>]*>(.*?)</title\s*>", re.IGNORECASE | re.DOTALL)
_LANGUAGE = re.compile(r"<html\b[^>]*?\blang\s*=\s*[\"']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]+)*)", re.IGNORECASE)
_META = re.compile(r"<meta\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(name|property|content)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_META_NAMES = {"author", "description", "keywords", "date", "generator", "article:published_time"}
_SILENT = {"script", "style", "noscript", "template", "svg"}
_BLOCKS = {"p", "div", "br", "li", "tr", "section", "article", "h1", "h2", "h3", "h4", "h5", "h6", "pre"}


def extract_html(source: str) -> Extracted:
    """Return the body as Markdown; title, language and the usual meta tags from the head."""
    title = _TITLE.search(source)
    language = _LANGUAGE.search(source[:4096])
    text = html_to_markdown(source)
    return Extracted(
        text,
        title=html.unescape(title[1]) if title else first_heading(text),
        metadata=_meta_tags(source),
        language=language[1] if language else None,
    )


def html_to_markdown(source: str) -> str:
    """Return HTML as Markdown; nesting that the converter refuses falls back to bare text."""
    # The head would come back as a broken front matter.
    body = _HEAD.sub("", source, count=1)
    config = kreuzberg.ExtractionConfig(
        use_cache=False, output_format="markdown", enable_quality_processing=False
    )
    try:
        markdown = kreuzberg.extract_bytes_sync(body.encode("utf-8", "replace"), "text/html", config).content
    except kreuzberg.KreuzbergError:
        markdown = ""
    return clean_markdown(markdown) if markdown.strip() else _bare_text(body)


def _bare_text(source: str) -> str:
    reader = _TextReader()
    reader.feed(source)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return "\n\n".join(line for line in lines if line)


class _TextReader(HTMLParser):
    """Collects the text between tags, without recursion."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def _meta_tags(source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in _META.findall(source[:65_536]):
        attributes = {name.lower(): quoted or single for name, quoted, single in _ATTRIBUTE.findall(tag)}
        name = (attributes.get("name") or attributes.get("property") or "").lower()
        if name in _META_NAMES and attributes.get("content"):
            found[name.rsplit(":", 1)[-1]] = html.unescape(attributes["content"])[:1000]
    return found
