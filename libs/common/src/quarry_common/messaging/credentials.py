"""Credentials files as `nsc` writes them: a user's JWT, and the seed of the Ed25519 key that proves it.

The form of a seed: base32 of two bytes for its kind, the key's 32 bytes and a checksum of two, see
https://github.com/nats-io/nkeys. Their Python library would bring a second implementation of Ed25519.
"""

import base64
import binascii
import re
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_BLOCK = r"-+BEGIN {name}-+\s+(\S+)\s+-+END {name}-+"
_JWT = re.compile(_BLOCK.format(name="NATS USER JWT"))
_SEED = re.compile(_BLOCK.format(name="USER NKEY SEED"))
_SEED_BYTES = 2 + 32 + 2
_USER_SEED = re.compile("SU[A-Z2-7]{56}")


class Credentials(msgspec.Struct, frozen=True):
    """Who a process is to NATS."""

    jwt: str
    seed: str

    def __repr__(self) -> str:
        """Show neither."""
        return "Credentials()"

    def sign(self, nonce: str) -> bytes:
        """Return the signature of what the server challenges with, in base64."""
        key = base64.b32decode(self.seed + "=" * (-len(self.seed) % 8))[2:34]
        return base64.b64encode(Ed25519PrivateKey.from_private_bytes(key).sign(nonce.encode()))


def read(path: str) -> Credentials:
    """Return what the file holds.

    Raises `ValueError`, in words that go on from a setting's name and show nothing of the file.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None or not _USER_SEED.fullmatch(seed[1]) or not _whole(seed[1]):
        raise ValueError("holds no user's JWT and seed as `nsc generate creds` writes them")
    return Credentials(jwt[1], seed[1])


def _whole(seed: str) -> bool:
    """Whether the checksum at the end of a seed, CRC-16/XMODEM, is right."""
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    return binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little")
