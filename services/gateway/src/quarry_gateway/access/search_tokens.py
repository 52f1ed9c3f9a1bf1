"""Search tokens: JWTs (RFC 7519) that a tenant's own server signs, and by which a browser may search.

What a token forces is added to each search and cannot be taken away by it. A token is compact JWS with EdDSA
over Ed25519 (RFC 8037) and nothing else; its `kid` is the id of a signing key. What is not known in it is
refused and not passed over: a misspelt `filter` would otherwise open everything.
"""

import hashlib
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from quarry_common.cache.lru import Lru
from quarry_common.contracts import filters
from quarry_common.contracts.filters import And, AnyOf, Field, Filter, Or
from quarry_common.contracts.signing_keys import MAX_TOKEN_SECONDS, TokenIssuer
from quarry_common.errors import UnauthenticatedError, ValidationError
from quarry_gateway.forms.validation import wrong_text

ALGORITHM: Final = "EdDSA"
MAX_TOKEN_LENGTH: Final = 8_192
MAX_AHEAD_SECONDS: Final = 60
"""That the clock of whoever makes tokens may be ahead."""
MAX_PRINCIPALS: Final = 100
MAX_COLLECTIONS: Final = 1_000
MAX_REMEMBERED: Final = 10_000
MAX_REMEMBERED_BYTES: Final = 8 << 20
"""Of tokens' texts."""

_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]{86}")
"""The signature has 64 bytes."""
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADER: Final = frozenset({"alg", "kid", "typ"})

_Seconds = int | float
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_CLAIMS: Final[Mapping[str, tuple[Any, str]]] = {
    "iat": (_Seconds, "must be a number of seconds since 1970"),
    "exp": (_Seconds, "must be a number of seconds since 1970"),
    "nbf": (_Seconds, "must be a number of seconds since 1970"),
    "filter": (dict[str, Any], 'must be an object, such as {"tags": ["public"]}'),
    "principals": (
        Annotated[list[_Text], Meta(max_length=MAX_PRINCIPALS)],
        f"must be a list of at most {MAX_PRINCIPALS} texts of 1 to 200 characters",
    ),
    "collections": (
        Annotated[list[_Text], Meta(max_length=MAX_COLLECTIONS)],
        f"must be a list of at most {MAX_COLLECTIONS} names of collections",
    ),
    "sub": (_Text, "must be a text of 1 to 200 characters"),
    "iss": (str, "must be a text"),
    "aud": (str | list[str], "must be a text or a list of texts"),
    "jti": (str, "must be a text"),
}
"""Every claim that a token may have. `iss`, `aud` and `jti` are its maker's own affair."""
_NEEDED: Final = ("iat", "exp")

_jws = jwt.PyJWS(algorithms=[ALGORITHM])


class SearchToken(msgspec.Struct, frozen=True):
    """What a search with the token is bound to."""

    signing_key_id: UUID
    filter: Filter | None
    """Has to hold of all that is found; None forces nothing."""
    principals: frozenset[str]
    collections: frozenset[str] | None
    """Those that it may search: the token's own and the signing key's; None is all."""
    expires_at: datetime
    subject: str | None = None
    """Whose searches they are, for analytics."""


class _Opened(msgspec.Struct, frozen=True):
    """A token whose signature is right, before it is held against the time and what is revoked."""

    signing_key_id: UUID
    public_key: str
    issued_at: float
    expires_at: float
    not_before: float
    filter: Filter | None
    principals: frozenset[str]
    collections: frozenset[str] | None
    subject: str | None


class SearchTokens:
    """Verifies tokens, and remembers those whose signatures it has seen: a browser sends one many times.

    Only what can never change is remembered. Times, revocations and the key's collections are looked at each
    time, as the issuer is known at that moment.
    """

    def __init__(self, max_items: int = MAX_REMEMBERED, max_bytes: int = MAX_REMEMBERED_BYTES) -> None:
        self._opened: Lru[bytes, _Opened] = Lru(max_items, max_bytes)

    def key_id_of(self, token: str) -> UUID:
        """Return what `key_id_of` does, sooner for a token that is remembered."""
        opened = self._opened.get(_digest(token))
        return key_id_of(token) if opened is None else opened.signing_key_id

    def verify(self, token: str, issuer: TokenIssuer, now: datetime) -> SearchToken:
        """Return what `token` is bound to; `issuer` is that of the key whose id `key_id_of` found in it.

        Raises `UnauthenticatedError`, with a sentence that says why, for every token that is not right.
        """
        digest = _digest(token)
        opened = self._opened.get(digest)
        if opened is not None and opened.public_key == issuer.public_key:
            return _judged(opened, issuer, now)
        opened = _open(token, issuer)
        found = _judged(opened, issuer, now)
        until = self._opened.now() + opened.expires_at - now.timestamp()
        self._opened.set(digest, opened, until, len(token))
        return found


def key_id_of(token: str) -> UUID:
    """Return the id of the signing key that `token` names, which nobody has confirmed yet.

    Raises `UnauthenticatedError` when it is no token, or names none.
    """
    match = _COMPACT.fullmatch(_bounded(token))
    if match is None:
        raise _refused("The search token is not a signed JWT in compact form.")
    header = _members(match[1], "header")
    # None of the members by which a token could bring its own key, or ask for another way of reading it.
    if not header.keys() <= _HEADER:
        raise _refused("The search token's header may hold alg, kid and typ, and nothing else.")
    if header.get("alg") != ALGORITHM:
        raise _refused(f"The search token's `alg` must be {ALGORITHM}.")
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise _refused("The search token's `typ` must be JWT.")
    kid = header.get("kid")
    if not isinstance(kid, str) or not _UUID.fullmatch(kid):
        raise _refused("The search token's `kid` must be the id of a signing key.")
    return UUID(kid)


def narrowed(
    query: Filter | None, forced: Filter | None, collections: Collection[str] | None
) -> Filter | None:
    """Return the filter of a search that has to meet `forced` besides its own, within `collections`.

    None is no condition, for collections too. Conditions stand side by side, so that whoever looks for the
    collections that a search is limited to finds them.
    """
    parts = [*_parts(query), *_parts(forced)]
    if collections is not None:
        parts.append(AnyOf(Field.COLLECTION, tuple(sorted(collections))) if collections else Or(()))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parts(tree: Filter | None) -> tuple[Filter, ...]:
    if tree is None:
        return ()
    return tree.filters if isinstance(tree, And) else (tree,)


def _digest(token: str) -> bytes:
    return hashlib.sha256(_bounded(token).encode()).digest()


def _bounded(token: str) -> str:
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        raise _refused(f"The search token is not of at most {MAX_TOKEN_LENGTH} characters of ASCII.")
    return token


def _open(token: str, issuer: TokenIssuer) -> _Opened:
    key_id = key_id_of(token)
    public_key = Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(f"{issuer.public_key}="))
    try:
        _jws.decode_complete(token, public_key, algorithms=[ALGORITHM])
    except jwt.PyJWTError:
        raise _refused("The search token's signature is not that of its signing key.") from None
    claims = _claims(_members(token.split(".")[1], "payload"))
    return _Opened(
        signing_key_id=key_id,
        public_key=issuer.public_key,
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        not_before=claims.get("nbf", claims["iat"]),
        filter=_filter(claims["filter"]) if "filter" in claims else None,
        principals=frozenset(claims.get("principals", ())),
        collections=frozenset(claims["collections"]) if "collections" in claims else None,
        subject=claims.get("sub"),
    )


def _judged(opened: _Opened, issuer: TokenIssuer, now: datetime) -> SearchToken:
    if opened.signing_key_id != issuer.signing_key_id:
        raise _refused("The search token names another signing key than the one that it is held against.")
    moment = now.timestamp()
    if opened.expires_at <= moment:
        raise _refused("The search token has expired.")
    if opened.expires_at - opened.issued_at > MAX_TOKEN_SECONDS:
        raise _refused(f"The search token lives longer than {MAX_TOKEN_SECONDS} seconds from `iat` to `exp`.")
    if opened.issued_at > moment + MAX_AHEAD_SECONDS:
        raise _refused("The search token was issued in the future.")
    if opened.not_before > moment + MAX_AHEAD_SECONDS:
        raise _refused("The search token is not valid yet.")
    if issuer.revoke_before is not None and opened.issued_at < issuer.revoke_before.timestamp():
        raise _refused("The search token was revoked.")
    return SearchToken(
        signing_key_id=opened.signing_key_id,
        filter=opened.filter,
        principals=opened.principals,
        collections=_common(opened.collections, issuer.collections),
        expires_at=datetime.fromtimestamp(opened.expires_at, UTC),
        subject=opened.subject,
    )


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _claims(members: Mapping[str, object]) -> dict[str, Any]:
    if not members.keys() <= _CLAIMS.keys():
        raise _refused(f"The search token has a claim that is not known; known are {', '.join(_CLAIMS)}.")
    if missing := [name for name in _NEEDED if name not in members]:
        raise _refused(f"The search token lacks `{missing[0]}`.")
    found = {}
    for name, value in members.items():
        kind, sentence = _CLAIMS[name]
        try:
            found[name] = msgspec.convert(value, kind)
        except (msgspec.ValidationError, OverflowError):
            raise _refused(f"The search token's `{name}` {sentence}.") from None
    return found


def _filter(raw: Mapping[str, Any]) -> Filter:
    if not raw:
        raise _refused("The search token's `filter` is empty; leave it out to force nothing.")
    try:
        return filters.parse(raw, "filter")
    except ValidationError as error:
        first = error.data.errors[0]
        raise _refused(f"The search token's `filter` is not valid: a member of it {first.message}.") from None


def _members(encoded: str, part: str) -> dict[str, Any]:
    """Return the members of a part of a token. None may be there twice: readers differ in which counts."""
    try:
        raw = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        members = msgspec.json.decode(raw, type=dict[str, Any])
        json.loads(raw, object_pairs_hook=_once)
    # What is wrong with base64, JSON, UTF-8 or a number is some ValueError.
    except (ValueError, RecursionError):
        raise _refused(f"The search token's {part} is not a JSON object with each member once.") from None
    if any(wrong_text(members)):
        raise _refused(f"The search token's {part} holds the character U+0000.")
    return members


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refused(detail: str) -> UnauthenticatedError:
    return UnauthenticatedError(detail, advice="Have a new token made; docs/search-tokens.md tells how.")
