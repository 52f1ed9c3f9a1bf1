"""The text of an API key: `qk_{live|test}_<32 random characters>_<checksum>`.

The checksum (CRC-32 of all that stands before it) tells a mistyped or invented key from a real one without
asking anybody; it is no protection. What protects is the 190 random bits, of which only SHA-256 is stored.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

import msgspec

from quarry_common.contracts.api_keys import KeyLabel
from quarry_common.errors import UnauthenticatedError

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6
PREFIX_LENGTH: Final = len("qk_live_") + 4

_PATTERN: Final = re.compile(
    rf"(qk_(live|test)_[0-9A-Za-z]{{{SECRET_LENGTH}}})_([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


class ParsedKey(msgspec.Struct, frozen=True):
    """A key whose form and checksum are right; whether it exists is for the tenants service to say."""

    label: KeyLabel
    prefix: str
    """The first characters, enough for its owner to recognise it; may be stored and shown."""
    sha256: bytes


def generate(label: KeyLabel) -> str:
    """Return a new key; its text is shown once and never stored."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    body = f"qk_{label.value}_{secret}"
    return f"{body}_{_checksum(body)}"


def parse(text: str) -> ParsedKey:
    """Return what the key `text` tells of itself. Raises `UnauthenticatedError` when it cannot be a key."""
    match = _PATTERN.fullmatch(text)
    if match is None or _checksum(match[1]) != match[3]:
        raise UnauthenticatedError(
            "The API key is malformed.",
            advice="Copy the whole key, such as `qk_live_…`, and send it in `X-API-Key`.",
        )
    return ParsedKey(KeyLabel(match[2]), text[:PREFIX_LENGTH], sha256(text))


def sha256(key: str) -> bytes:
    """Return the digest by which a key is stored and looked up."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
