"""Making an extractor's Markdown read as a person would write it."""

import re

_DATA_IMAGE = re.compile(r"!\[([^\]\n]*)\]\(data:[^)\s]*\)")
# `#`, `|`, backtick and the backslash itself keep theirs: without it they would mean structure.
_ESCAPED = re.compile(r"\\([!\"$%&'()*+,\-./:;<=>?@\[\]^_{}~])")
_FENCE = re.compile(r"^(```.*?^```[ \t]*$)", re.MULTILINE | re.DOTALL)
_ENTITIES = (("&nbsp;", " "), ("&#9;", "\t"))
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")
_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0x7F, 0xFEFF])


def clean_markdown(markdown: str) -> str:
    """Return `markdown` without embedded images, needless escapes, control characters and blank stretches."""
    text = markdown.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
    pieces = _FENCE.split(text)
    pieces[::2] = [_clean_prose(piece) for piece in pieces[::2]]
    return "".join(pieces).strip("\n")


def _clean_prose(text: str) -> str:
    text = _ESCAPED.sub(r"\1", _DATA_IMAGE.sub(r"\1", text))
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return _BLANK_LINES.sub("\n\n", text)


def clean_page(text: str) -> str:
    """Return a PDF page's plain text with words joined that a line end had cut."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"(?<=\w)[\x02\ufffe\u00ad]\n?(?=\w)", "", text)
    text = text.translate(_CONTROLS)
    return re.sub(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])", "", text).strip()
