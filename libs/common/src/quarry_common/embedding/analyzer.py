"""Text to terms for keyword search.

Words of any script after NFKC and case folding (`\\w+` would tear Hindi words at their vowel signs),
stemmed by their script; writing systems without spaces as graphemes and overlapping pairs of them;
identifiers, numbers, e-mail addresses and URLs whole and in parts. No language is guessed, so a query
always agrees with a document. docs/quality.md tells what else was tried.
"""

import re
import unicodedata
from collections.abc import Set
from itertools import pairwise

import regex
import Stemmer

from quarry_common.embedding.stopwords import STOP_WORDS

_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\u30FC\u3005\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # ー and 々
)
_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200C\u200D]--[{_UNSPACED}]]+"  # zero-width (non-)joiners belong to words
_JOINER = r"(?:://|:\\|[-._/@:+&=?#%~\\'\u2019])"
_TOKEN = regex.compile(rf"(?V1)[{_UNSPACED}](?:[{_UNSPACED}]|\p{{M}})*|{_WORD}(?:{_JOINER}{_WORD})*")
# The same for ASCII, where the standard library's engine is several times as fast.
_ASCII_TOKEN = re.compile(r"[A-Za-z0-9_]+(?:(?:://|:\\|[-._/@:+&=?#%~\\'])[A-Za-z0-9_]+)*")
_UNSPACED_START = regex.compile(rf"(?V1)[{_UNSPACED}]")
_GRAPHEME = regex.compile(r"\X")
_PART = regex.compile(r"[\p{L}\p{M}\p{N}\u200C\u200D]+")
_SEGMENT = regex.compile(r"[^/@:?&=#\\]+")
_HUMP = regex.compile(r"(?V1)\p{Lu}+(?!\p{Ll})\p{N}*|\p{Lu}?[[\p{L}\p{M}]--\p{Lu}]+\p{N}*|\p{N}+")
_HUMP_EDGE = regex.compile(r"\p{Ll}\p{Lu}|\p{Lu}\p{Lu}\p{Ll}")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)?")
_POSSESSIVE = re.compile(r"(.+)['\u2019]s?", re.IGNORECASE | re.DOTALL)
_MARK = regex.compile(r"\p{Mn}+")
_LATIN = regex.compile(r"\p{Latin}")
_ENGLISH = Stemmer.Stemmer("english")
_GERMAN = Stemmer.Stemmer("german")
_STEMMERS_BY_SCRIPT = (
    (regex.compile(r"\p{Devanagari}"), Stemmer.Stemmer("hindi")),
    (regex.compile(r"\p{Cyrillic}"), Stemmer.Stemmer("russian")),
    (regex.compile(r"\p{Arabic}"), Stemmer.Stemmer("arabic")),
    (regex.compile(r"\p{Greek}"), Stemmer.Stemmer("greek")),
)
MAX_TERM_CHARACTERS = 256
"""A longer term is cut: it is no word, and nobody searches for it whole."""


def analyze(text: str) -> list[str]:
    """Return the terms of a document (a chunk), in order, with repetitions."""
    return [term for token in tokenize(text) for term in token_terms(token)]


def analyze_query(text: str, stop_words: Set[str] = frozenset()) -> list[str]:
    """Return the distinct terms of a query, in order.

    Function words and `stop_words` (casefolded) are left out unless there is nothing else; function words in
    capitals (WHO, IT) are names. A run of an unspaced script is searched by its pairs: its single graphemes,
    which documents also have, only add noise.
    """
    tokens = tokenize(text)
    shouted = text.isupper()
    telling = [
        token
        for token in tokens
        if (word := token.casefold()) not in stop_words
        and (word not in STOP_WORDS or (token.isupper() and len(token) > 1 and not shouted))
    ]
    terms = (term for token in telling or tokens for term in _query_token_terms(token))
    return list(dict.fromkeys(terms))


def tokenize(text: str) -> list[str]:
    """Return the words, compounds such as addresses and identifiers, and unspaced runs of `text`, in
    order."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text)
    tokens: list[str] = _TOKEN.findall(unicodedata.normalize("NFKC", text))
    return tokens


def is_unspaced(token: str) -> bool:
    """Return whether `token` is a run of a script without spaces, which is searched by its graphemes."""
    return bool(_UNSPACED_START.match(token))


def token_terms(token: str) -> tuple[str, ...]:
    """Return the terms of one token of a document."""
    if token.isascii() and token.isalpha() and (token.islower() or token.istitle()):
        return (_stem(token.lower())[:MAX_TERM_CHARACTERS],)
    if _UNSPACED_START.match(token):
        graphemes = _graphemes(token)
        return (*graphemes, *_pairs(graphemes))
    return tuple(term[:MAX_TERM_CHARACTERS] for term in dict.fromkeys(_compound_terms(token)))


def _query_token_terms(token: str) -> tuple[str, ...]:
    if not _UNSPACED_START.match(token):
        return token_terms(token)
    graphemes = _graphemes(token)
    return _pairs(graphemes) if len(graphemes) > 1 else tuple(graphemes)


def _compound_terms(token: str) -> list[str]:
    """Return the whole token, the segments of an address, the parts of those, and the humps of camelCase."""
    if _NUMBER.fullmatch(token):
        return [token]
    if possessive := _POSSESSIVE.fullmatch(token):
        return _compound_terms(possessive[1])
    parts = _PART.findall(token)
    terms: list[str] = []
    if parts != [token]:
        terms.append(token.casefold())
        terms.extend(segment.casefold() for segment in _SEGMENT.findall(token) if segment not in parts)
    for part in parts:
        terms.append(_stem(part.casefold()))
        if _HUMP_EDGE.search(part):
            terms.extend(_stem(hump.casefold()) for hump in _HUMP.findall(part))
    return terms


def _graphemes(run: str) -> list[str]:
    graphemes: list[str] = _GRAPHEME.findall(run.casefold())
    return graphemes


def _pairs(graphemes: list[str]) -> tuple[str, ...]:
    return tuple(first + second for first, second in pairwise(graphemes))


def _stem(word: str) -> str:
    """Return the Snowball stem for the word's script, without the accents of Latin letters.

    Accents go first, so that the stemmers see the same word with and without. Latin words pass the English
    and then the German stemmer: as good for each of the two as its own stemmer alone.
    """
    if not word.isascii() and _LATIN.search(word):
        word = _MARK.sub("", unicodedata.normalize("NFD", word))
    if word.isascii():
        return str(_GERMAN.stemWord(_ENGLISH.stemWord(word)))
    for script, stemmer in _STEMMERS_BY_SCRIPT:
        if script.search(word):
            return str(stemmer.stemWord(word))
    return word
