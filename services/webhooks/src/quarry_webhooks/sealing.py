"""Encryption at rest: secrets and headers of endpoints are readable with the installation's keys only.

AES-256-GCM under a random nonce; tenant and endpoint are associated data, so that what was sealed for one
endpoint does not open for another.
"""

import base64
import binascii
import os
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quarry_common.errors import QuarryError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class SealedError(QuarryError):
    """What was sealed opens with none of the keys."""

    code = "webhook_sealed"
    title = "What is kept of the endpoint cannot be read"
    advice = "Add the key that it was encrypted with to WEBHOOK_ENCRYPTION_KEYS, or rotate the secret."


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys of a comma list, each 32 bytes in base64.

    Raises `ValueError`, in a sentence that repeats nothing of them.
    """
    keys: list[bytes] = []
    for part in text.split(","):
        try:
            key = base64.b64decode(part.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("each key must be base64") from None
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"each key must be {KEY_BYTES} bytes in base64; `openssl rand -base64 32` makes one"
            )
        keys.append(key)
    return tuple(keys)


class Sealer:
    """Seals with the first of its keys, opens with any."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in keys]

    def close(self, tenant_id: UUID, endpoint_id: UUID, content: bytes) -> bytes:
        """Return `content` as it is stored."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, content, _owner(tenant_id, endpoint_id))

    def open(self, tenant_id: UUID, endpoint_id: UUID, sealed: bytes) -> bytes:
        """Return the content: a secret as text, or headers as an object in JSON. Raises `SealedError`."""
        owner = _owner(tenant_id, endpoint_id)
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner)
            except (InvalidTag, ValueError):
                continue
        raise SealedError(f"What is kept of endpoint {endpoint_id} opens with none of the keys.")


def _owner(tenant_id: UUID, endpoint_id: UUID) -> bytes:
    return tenant_id.bytes + endpoint_id.bytes
