"""Rules of signing keys: what one may be, whom it stands for, and which of its tokens are refused."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from quarry_common.contracts.api_keys import Grant
from quarry_common.contracts.signing_keys import CreateSigningKey, RevokeTokens, SigningKey, TokenIssuer
from quarry_common.contracts.tenancy import Quotas, Scope, TenantState
from quarry_common.errors import ConflictError, FieldError, ForbiddenError, UnauthenticatedError
from quarry_tenants.domain.checks import listed_errors, name_errors, refuse
from quarry_tenants.domain.keys import require_within

MAX_LIVE: Final = 20
"""Of one tenant."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_LENGTH: Final = 43
"""Characters of 32 bytes in base64url without padding."""


class StoredSigningKey(msgspec.Struct, frozen=True):
    """What the database knows of a signing key by its id."""

    id: UUID
    tenant_id: UUID
    tenant_slug: str
    tenant_state: TenantState
    public_key: bytes
    quotas: Quotas
    collections: frozenset[str] | None = None
    revoke_before: datetime | None = None
    revoked_at: datetime | None = None
    cors_origins: tuple[str, ...] = ()


def check_new(request: CreateSigningKey) -> None:
    """Raise `ValidationError`, or `ForbiddenError` when tokens of the key could do more than its maker."""
    refuse(name_errors(request.name) + listed_errors("collections", request.collections))
    # A token says itself which principals it carries.
    if request.maker.principals:
        raise ForbiddenError(
            "Tokens of a signing key may carry any principal, and the key that makes it may not.",
            advice="Use a key that is not limited in its principals.",
        )
    require_within(Grant(frozenset({Scope.SEARCH}), request.collections), request.maker)


def check_room(live: int) -> None:
    """Raise `ConflictError` when a tenant with that many live keys may have no more."""
    if live >= MAX_LIVE:
        raise ConflictError(
            f"The tenant has {MAX_LIVE} signing keys, which is as many as it may have.",
            advice="Revoke those that are no longer needed.",
        )


def new_pair() -> tuple[bytes, str]:
    """Return the public half of a new key (32 bytes), and the private one as PKCS #8 in PEM."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.public_key().public_bytes_raw(), pem.decode()


def public_key_of(text: str) -> bytes:
    """Return the 32 bytes of a public key in base64url. Raises `ValidationError` when it is none."""
    found = b""
    if len(text) == _KEY_LENGTH and text.isascii():
        try:
            found = base64.b64decode(f"{text}=", altchars=b"-_", validate=True)
        except binascii.Error:
            found = b""
    # Of the last character only some bits count: the others have to be zero, so that a key has one form.
    if not found or text_of(found) != text:
        message = "must be the 32 bytes of an Ed25519 key in base64url without padding: `x` of its JWK"
        refuse([FieldError("public_key", message)])
    return found


def text_of(public_key: bytes) -> str:
    """Return a public key as it is told."""
    return base64.urlsafe_b64encode(public_key).rstrip(b"=").decode()


def revoked(key: SigningKey, request: RevokeTokens, now: datetime) -> SigningKey:
    """Return the key after a revocation; unchanged when what is to be refused is refused already.

    Raises `ValidationError` for a moment that is still to come.
    """
    before = request.before
    if before is not None and before.tzinfo is None:
        refuse([FieldError("before", "must name its time zone, such as 2027-01-31T12:00:00Z")])
    if before is not None and before > now:
        refuse([FieldError("before", f"must not be in the future; it is {_moment(now)} now")])
    if key.revoked_at is not None:
        return key
    if before is None:
        return msgspec.structs.replace(key, revoked_at=now)
    if key.revoke_before is not None and key.revoke_before >= before:
        return key
    # Times at the beginning of the calendar do not survive the change of time zone.
    return msgspec.structs.replace(key, revoke_before=max(before, EPOCH).astimezone(UTC))


def issuer_of(key: StoredSigningKey | None) -> TokenIssuer:
    """Return whose tokens a signing key makes. Raises `UnauthenticatedError` when they are nobody's."""
    if key is None:
        raise UnauthenticatedError(
            "The signing key that the search token names is not known here.",
            advice="Make tokens with a signing key of this installation, and its id as `kid`.",
        )
    if key.revoked_at is not None:
        raise UnauthenticatedError(
            f"The signing key of the search token was revoked at {_moment(key.revoked_at)}.",
            advice="Make tokens with another signing key.",
        )
    if key.tenant_state is not TenantState.ACTIVE:
        raise UnauthenticatedError(
            f"The tenant {key.tenant_slug} is disabled.", advice="Ask the operator of this installation."
        )
    return TokenIssuer(
        signing_key_id=key.id,
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant_slug,
        public_key=text_of(key.public_key),
        quotas=key.quotas,
        collections=key.collections,
        revoke_before=key.revoke_before,
        cors_origins=key.cors_origins,
    )


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
