"""Places in a stream as readers are told them: opaque, and of use for this stream only.

A sequence as it is would tell each tenant how much all the others do. It is encrypted under a key that is
made from the stream's identity, so that every gateway has it, and a stream that was made anew has another.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

LENGTH: Final = 22
PATTERN: Final = rf"^[A-Za-z0-9_-]{{{LENGTH}}}$"
_PERSON: Final = b"quarry places"
_HALF: Final = 8
_ZEROS: Final = bytes(_HALF)


class Places:
    """Turns sequences of the stream with this identity into ids of events, and back."""

    def __init__(self, identity: str) -> None:
        key = blake2b(identity.encode(), digest_size=16, person=_PERSON).digest()
        self._cipher = Cipher(AES(key), ECB())  # noqa: S305 - one block each, all different

    def id_of(self, sequence: int) -> str:
        """Return the id of the message with `sequence`, `LENGTH` letters."""
        encryptor = self._cipher.encryptor()
        block = encryptor.update(sequence.to_bytes(_HALF) + _ZEROS)
        return urlsafe_b64encode(block).rstrip(b"=").decode()

    def sequence_of(self, event_id: str) -> int | None:
        """Return the sequence that an id, matching `PATTERN`, stands for, None when of another stream."""
        decryptor = self._cipher.decryptor()
        block = decryptor.update(urlsafe_b64decode(f"{event_id}=="))
        return int.from_bytes(block[:_HALF]) if block[_HALF:] == _ZEROS else None
