"""Formats that are text already: the text stays as it is, only the title is looked up."""

import json
import re
from itertools import accumulate

import msgspec

from quarry_indexer.parsing.extracted import Extracted, first_heading

_FRONT_MATTER_TITLE = re.compile(r"\A---\n(?:.*\n){0,60}?title:(.+)\n")
_RST_TITLE = re.compile(r"^(?:([=\-~^#*]{3,})\n)?[ \t]*(\S.*)\n([=\-~^#*]{3,})$", re.MULTILINE)
_ORG_TITLE = re.compile(r"^#\+title:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_FRONT_CHARACTERS = 20_000
_LONG_LINE_CHARACTERS = 500
_MAX_GROWTH = 4
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_WHOLE_STRINGS = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.DOTALL)
_PIECE_BYTES = 256 * 1024
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[]{},:"))
_DEPTH_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]
_ESCAPE = re.compile(r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|.)")


def extract_plain(text: str) -> Extracted:
    """Text, source code, CSV, TSV and XML."""
    return Extracted(text)


def extract_markdown(text: str) -> Extracted:
    """Markdown; the title is the front matter's or the first level-1 heading."""
    front = _FRONT_MATTER_TITLE.match(text[:_FRONT_CHARACTERS])
    title = front[1].strip().strip("\"'") if front else None
    return Extracted(text, title=title or first_heading(text))


def extract_rst(text: str) -> Extracted:
    """Return reStructuredText with its first underlined heading as title."""
    found = _RST_TITLE.search(text[:4000])
    return Extracted(text, title=found[2] if found else None)


def extract_org(text: str) -> Extracted:
    """Org; the title is its `#+title:`."""
    found = _ORG_TITLE.search(text[:4000])
    return Extracted(text, title=found[1] if found else None)


def extract_json(text: str, max_bytes: int) -> Extracted:
    """JSON; what was written on one long line is indented, so that it has lines to cut at.

    It stays as it is where that would take it above `max_bytes` or make it many times as large, and where it
    nests too deep to be read.
    """
    if len(text) <= _LONG_LINE_CHARACTERS * (text.count("\n") + 1):
        return Extracted(text)
    data = text.encode("utf-8", "replace")
    added = _indent_bytes(data)
    if added > _MAX_GROWTH * len(data) or added + len(data) > max_bytes:
        return Extracted(text)
    try:
        laid_out = msgspec.json.format(data, indent=1).decode()
    except (msgspec.DecodeError, RecursionError):  # JSON lines
        return Extracted(text)
    return Extracted(_ESCAPE.sub(_unescaped, laid_out) if "\\u" in laid_out else laid_out)


def _indent_bytes(data: bytes) -> int:
    """Return at most how many bytes indenting adds: deep and wide JSON would grow beyond all bounds."""
    added = depth = at = 0
    while at < len(data):
        # As far as no string is cut: for each string that is taken out, a piece of what is left is held.
        end = _WHOLE_STRINGS.match(data, at, at + _PIECE_BYTES).end()  # type: ignore[union-attr] # always matches
        if end == at:
            end = _JSON_STRING.match(data, at).end()  # type: ignore[union-attr] # a quote is at its start
        structure = _JSON_STRING.sub(b"", data[at:end]).translate(None, _NO_STRUCTURE)
        depths = list(accumulate(map(_DEPTH_STEPS.__getitem__, structure), initial=depth))
        added += sum(depths) + 3 * len(structure)
        depth, at = depths[-1], end
    return added


def _unescaped(escape: re.Match[str]) -> str:
    """Return a letter for its escape, where it needs none; an escaped backslash is passed over."""
    if not escape[1]:
        return escape[0]
    character = json.loads(f'"{escape[0]}"')
    return character if character.isprintable() and character not in '"\\' else escape[0]
