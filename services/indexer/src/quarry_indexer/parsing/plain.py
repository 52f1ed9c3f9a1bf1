"""Formats that are text already: the text stays as it is, only the title is looked up."""

import json
import re

from quarry_indexer.parsing.extracted import Extracted, first_heading

_FRONT_MATTER_TITLE = re.compile(r"\A---\n(?:.*\n){0,60}?title:[ \t]*[\"']?(.+?)[\"']?[ \t]*\n")
_RST_TITLE = re.compile(r"^(?:([=\-~^#*]{3,})\n)?[ \t]*(\S.*)\n([=\-~^#*]{3,})$", re.MULTILINE)
_ORG_TITLE = re.compile(r"^#\+title:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_LONG_LINE_CHARACTERS = 500


def extract_plain(text: str) -> Extracted:
    """Text, source code, CSV, TSV and XML."""
    return Extracted(text)


def extract_markdown(text: str) -> Extracted:
    """Markdown; the title is the front matter's or the first level-1 heading."""
    front = _FRONT_MATTER_TITLE.match(text)
    return Extracted(text, title=front[1] if front else first_heading(text))


def extract_rst(text: str) -> Extracted:
    """Return reStructuredText with its first underlined heading as title."""
    found = _RST_TITLE.search(text[:4000])
    return Extracted(text, title=found[2] if found else None)


def extract_org(text: str) -> Extracted:
    """Org; the title is its `#+title:`."""
    found = _ORG_TITLE.search(text[:4000])
    return Extracted(text, title=found[1] if found else None)


def extract_json(text: str) -> Extracted:
    """JSON; what was written on one long line is indented, so that it has lines to cut at."""
    if len(text) <= _LONG_LINE_CHARACTERS * (text.count("\n") + 1):
        return Extracted(text)
    try:
        return Extracted(json.dumps(json.loads(text), ensure_ascii=False, indent=1))
    except (ValueError, RecursionError):  # JSON lines, or nested too deep to read
        return Extracted(text)
