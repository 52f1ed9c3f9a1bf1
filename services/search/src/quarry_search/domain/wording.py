"""What a query's text asks for: words, and phrases in quotation marks that results must hold."""

import unicodedata

import msgspec
import regex

from quarry_common.errors import FieldError, ValidationError

MAX_PHRASES = 10

_PHRASE = regex.compile(r'"([^"]+)"|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»')
_SPACES = regex.compile(r"\s+")


class Wording(msgspec.Struct, frozen=True):
    """A query's text taken apart."""

    text: str
    """All of it, for the legs: marks mean nothing to them."""
    phrases: tuple[str, ...]
    """As they are compared: see `normal`."""


def read(text: str) -> Wording:
    """Return what `text` asks for. Raises `ValidationError` when there is nothing to search for."""
    # The categories C and Z of Unicode: control and format characters, unassigned code points, spaces.
    if all(unicodedata.category(char)[0] in "CZ" for char in text):
        raise _wrong("The query is empty.", "must hold more than spaces and control characters")
    found = (next(filter(None, match.groups())) for match in _PHRASE.finditer(text))
    phrases = tuple(dict.fromkeys(phrase for each in found if (phrase := normal(each))))
    if len(phrases) > MAX_PHRASES:
        raise _wrong("The query has too many phrases.", f"may hold at most {MAX_PHRASES} phrases")
    return Wording(text, phrases)


def normal(text: str) -> str:
    """Return `text` as phrases are compared: compatibility forms, case and white space are no difference."""
    return str(_SPACES.sub(" ", unicodedata.normalize("NFKC", text).casefold())).strip()


def holds(text: str, phrases: tuple[str, ...]) -> bool:
    """Return whether `text` has every one of `phrases`."""
    compared = normal(text)
    return all(phrase in compared for phrase in phrases)


def _wrong(detail: str, message: str) -> ValidationError:
    return ValidationError(detail, errors=[FieldError("query", message)])
