"""What of a chunk the two legs of the index see."""

from collections.abc import Sequence


def embedded_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """Return what the embedder reads: the passage under its title and nearest heading, which it often needs
    to be understood."""
    return "\n".join([*_context(title, heading_path), text])


def keyword_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """Return what BM25 counts: the same, so that a word of the title finds every passage under it."""
    return embedded_text(title, heading_path, text)


def _context(title: str, heading_path: Sequence[str]) -> list[str]:
    nearest = heading_path[-1] if heading_path else ""
    return [part for part in (title, nearest if nearest != title else "") if part]
