"""Search tokens, made without asking anybody. They need the extra `tokens` of this package.

::

    from quarry_client import search_tokens

    token = search_tokens.make(private_key, key_id, filter={"tags": ["public"]}, principals=[user.id])
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

try:
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
except ImportError as error:
    raise ImportError("Search tokens need PyJWT: install `quarry-client[tokens]`.") from error

MAX_LIFETIME_SECONDS: Final = 86_400
MAX_LENGTH: Final = 8_192


def make(
    private_key_pem: str | bytes,
    key_id: UUID | str,
    *,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - as the claim is called
    principals: Sequence[str] | None = None,
    collections: Sequence[str] | None = None,
    lifetime_seconds: int = 3600,
    subject: str | None = None,
) -> str:
    """Return a token with which whoever holds it may search, bound to what is given here.

    `private_key_pem` is the private half of the signing key `key_id`. All that is found meets `filter`, lies
    in `collections` and is open to everybody or to one of `principals`. None forces nothing; an empty list of
    collections lets nothing be found. `subject` says whose searches they are. The clock of this machine tells
    when the token begins.

    Raises `ValueError` for what the platform would refuse: a key that is no Ed25519 key, an empty filter, a
    life of more than a day, a token of more than 8192 characters.
    """
    if not 0 < lifetime_seconds <= MAX_LIFETIME_SECONDS:
        raise ValueError(f"lifetime_seconds must be 1 to {MAX_LIFETIME_SECONDS}")
    if filter is not None and not filter:
        raise ValueError("an empty filter forces nothing: leave it out if that is meant")
    issued_at = int(time.time())
    claims = {
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
        "filter": filter,
        "principals": None if principals is None else list(principals),
        "collections": None if collections is None else list(collections),
        "sub": subject,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(
        given, _private_key(private_key_pem), algorithm="EdDSA", headers={"kid": str(UUID(str(key_id)))}
    )
    if len(token) > MAX_LENGTH:
        raise ValueError(f"the token would be longer than {MAX_LENGTH} characters: {len(token)}")
    return token


def _private_key(pem: str | bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, None)
    except (ValueError, TypeError):  # the second for a key that asks for a password
        raise ValueError("the private key is no PKCS #8 key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the private key is no Ed25519 key")  # noqa: TRY004 - the text was of the wrong kind
    return key
