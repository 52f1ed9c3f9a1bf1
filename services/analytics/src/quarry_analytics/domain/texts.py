"""What makes two queries, or two users, the same."""

import hashlib
import unicodedata

_BYTES = 8


def normal(query: str) -> str:
    """Return a query whatever its case, its spaces and how its characters are composed."""
    return " ".join(unicodedata.normalize("NFKC", query).casefold().split())


def hash_of(text: str) -> int:
    """Return a signed 64-bit hash: of a million different texts, two have the same in 1 of 37 million
    cases."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BYTES).digest(), "little", signed=True)


def storable(text: str) -> str:
    """Return a text without NUL, which Postgres cannot keep."""
    return text.replace("\0", "\ufffd")
