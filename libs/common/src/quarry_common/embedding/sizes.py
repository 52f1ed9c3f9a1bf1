"""How many tokens a text has for a remote model, whose tokenizer is not here."""

from collections.abc import Sequence
from typing import NamedTuple

from quarry_common.embedding.tokenizer import LocalTokenizer

LONGEST_WORD_PIECE = 20
"""Characters. What is longer is a word that the local tokenizer does not know and counts as one token."""
BYTES_PER_TOKEN = 2
"""Of what the local tokenizer does not know; models of bytes or pieces need about that many for one token."""
CHARACTERS_PER_TOKEN = 32
"""Text beyond so many characters per token is not looked at."""


class SizedText(NamedTuple):
    """A text that fits the model, with its estimated tokens."""

    text: str
    tokens: int


def fit(tokenizer: LocalTokenizer, texts: Sequence[str], max_tokens: int) -> list[SizedText]:
    """Return each of `texts`, cut where it has more than `max_tokens`.

    Counts with the local tokenizer, which finds at least as many tokens in most texts as those of larger
    vocabularies; its single token for an unknown word (a run of Thai, an encoded file) counts by its bytes.
    Half a surrogate pair, which no request can carry, becomes a question mark.
    """
    return [_fit(tokenizer, text, max_tokens) for text in texts]


def _fit(tokenizer: LocalTokenizer, text: str, max_tokens: int) -> SizedText:
    text = text[: max_tokens * CHARACTERS_PER_TOKEN].encode(errors="replace").decode()
    total = 0
    for start, end in tokenizer.token_offsets(text):
        tokens = _tokens(text[start:end])
        if total + tokens > max_tokens:
            # An unknown word may be most of the text: as much of it as has room stays.
            room = (max_tokens - total) * BYTES_PER_TOKEN
            part = text[start:end].encode()[:room].decode(errors="ignore")
            return SizedText(text[:start] + part if part else text[:start].rstrip(), max_tokens)
        total += tokens
    return SizedText(text, max(total, 1))


def _tokens(piece: str) -> int:
    if piece.isascii() and len(piece) <= LONGEST_WORD_PIECE:
        return 1
    return max(1, len(piece.encode()) // BYTES_PER_TOKEN)
