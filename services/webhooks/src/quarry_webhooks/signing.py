"""Signatures of Standard Webhooks 1.0, by which receivers know that a delivery is ours and is recent.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import secrets as randomness
from collections.abc import Sequence

PREFIX = "whsec_"
GENERATED_BYTES = 32
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64


def generate_secret() -> str:
    """Return a new secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(randomness.token_bytes(GENERATED_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for, 24 to 64 bytes.

    Raises `ValueError`, in a sentence that does not repeat the secret.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"A secret begins with {PREFIX}.")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        # The cause would quote what it could not read.
        raise ValueError(f"After {PREFIX} a secret is base64 with its padding.") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"A secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, this one {len(key)}.")
    return key


def signatures(secrets: Sequence[str], webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature for each secret, in their order.

    `timestamp` is in seconds since 1970 and is sent as `webhook-timestamp`; `body` is signed as it is sent.
    Raises `ValueError` when there is no secret, one is malformed, or the id has a dot.
    """
    if not secrets:
        raise ValueError("There is no secret to sign with.")
    if not webhook_id or "." in webhook_id:
        # Dots part what is signed: with one in the id, two messages could have the same signature.
        raise ValueError("The id of a message is not empty and has no dot.")
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
    return " ".join(f"v1,{_signature(key_of(secret), signed)}" for secret in secrets)


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
