"""What of a chunk the two legs of the index see."""

import re
from collections.abc import Sequence

# Scripts that part no words with blanks, and their punctuation. Korean does part them.
_UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3001-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
    "\uff01-\uff9f"  # fullwidth signs, halfwidth kana
)
_BREAK_IN_A_RUN = re.compile(rf"(?<=[{_UNSPACED}])[^\S\n]*\n[^\S\n]*(?=[{_UNSPACED}])")


def join_unspaced_lines(text: str) -> str:
    """Return `text` without the line ends within a run of a script that writes no blanks.

    Chinese, Japanese or Thai wrapped at a fixed width breaks within words, which neither leg would find.
    Blank lines, and line ends next to any other script, stay.
    """
    return _BREAK_IN_A_RUN.sub("", text)


def embedded_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """Return what the embedder reads: the passage under its title and nearest heading, which it often needs
    to be understood."""
    return "\n".join([*_context(title, heading_path), join_unspaced_lines(text)])


def keyword_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """Return what BM25 counts: the same, so that a word of the title finds every passage under it."""
    return embedded_text(title, heading_path, text)


def _context(title: str, heading_path: Sequence[str]) -> list[str]:
    nearest = heading_path[-1] if heading_path else ""
    return [part for part in (title, nearest if nearest != title else "") if part]
