"""Text to terms for keyword search, the same way for documents and queries.

Words of any script after NFKC and case folding (`\\w+` would tear Hindi words at their vowel signs); writing systems
without spaces as overlapping bigrams of graphemes; identifiers, numbers, e-mail addresses and URLs whole and in parts.
"""

import unicodedata
from functools import lru_cache
from itertools import pairwise

import regex
import Stemmer

_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\u30FC\u3005"
_SOUTH_EAST_ASIAN = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_UNSPACED = _CJK + _SOUTH_EAST_ASIAN
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200C\u200D]--[{_UNSPACED}]]"
_JOINER = r"(?:://|[-._/@:+&=?#%~\\'’])"
_TOKEN = regex.compile(
    rf"(?V1)[{_UNSPACED}]\p{{M}}*(?:[{_UNSPACED}\p{{M}}])*|{_LETTER}+(?:{_JOINER}{_LETTER}+)*"
)
_UNSPACED_START = regex.compile(rf"(?V1)[{_UNSPACED}]")
_GRAPHEME = regex.compile(r"\X")
_PARTS = regex.compile(r"(?V1)[\p{L}\p{M}\p{N}\u200C\u200D]+")
_HUMPS = regex.compile(r"(?V1)\p{Lu}+(?!\p{Ll})\p{N}*|\p{Lu}?[[\p{L}\p{M}]--\p{Lu}]+\p{N}*|\p{N}+")
_HAS_HUMP = regex.compile(r"\p{Ll}\p{Lu}|\p{Lu}\p{Lu}\p{Ll}")
_MARKS = regex.compile(r"\p{Mn}+")
_STEMMERS = {
    "latin": Stemmer.Stemmer("english"),
    "cyrillic": Stemmer.Stemmer("russian"),
    "arabic": Stemmer.Stemmer("arabic"),
    "devanagari": Stemmer.Stemmer("hindi"),
    "greek": Stemmer.Stemmer("greek"),
}
_SCRIPT = regex.compile(
    r"(?P<latin>\p{Latin})|(?P<devanagari>\p{Devanagari})|(?P<cyrillic>\p{Cyrillic})|(?P<arabic>\p{Arabic})|(?P<greek>\p{Greek})"
)


def analyze(text: str) -> list[str]:
    """Return the terms of `text`, in order, with repetitions."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    terms: list[str] = []
    for token in _TOKEN.findall(text):
        terms.extend(_terms(token))
    return terms


@lru_cache(maxsize=1 << 17)
def _terms(token: str) -> tuple[str, ...]:
    if _UNSPACED_START.match(token):
        return _bigrams(token.casefold())
    if token.isalpha() and (token.islower() or token.istitle()):
        return (_stem(token.casefold()),)
    return tuple(dict.fromkeys(_compound(token)))


def _compound(token: str) -> list[str]:
    """Return the whole token and its parts: between joiners, and between the humps of camelCase."""
    terms: list[str] = []
    parts = _PARTS.findall(token)
    if len(parts) != 1 or parts[0] != token:
        terms.append(token.casefold())
    for part in parts:
        terms.append(_stem(part.casefold()))
        if _HAS_HUMP.search(part):
            terms.extend(_stem(hump.casefold()) for hump in _HUMPS.findall(part))
    return terms


def _bigrams(run: str) -> tuple[str, ...]:
    graphemes = _GRAPHEME.findall(run)
    if len(graphemes) == 1:
        return (run,)
    return tuple(first + second for first, second in pairwise(graphemes))


def _stem(word: str) -> str:
    script = _SCRIPT.search(word)
    if script is None or script.lastgroup is None:
        return word
    stem = str(_STEMMERS[script.lastgroup].stemWord(word))
    if script.lastgroup == "latin" and not stem.isascii():
        return _MARKS.sub("", unicodedata.normalize("NFD", stem))
    return stem
