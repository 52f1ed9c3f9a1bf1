"""Tokens by which a browser without a key may tell what a user did with one answer: made with the answer,
bound to its tenant and its query, and of no other use."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from quarry_common.errors import UnauthenticatedError
from quarry_common.ids import time_of

LIFETIME: Final = timedelta(hours=24)
"""From the search on."""
_MAC_BYTES: Final = 16
_BYTES: Final = 16 + 16 + _MAC_BYTES
_PURPOSE: Final = b"quarry event token 1"


class EventToken(msgspec.Struct, frozen=True):
    """The answer that a token was given with."""

    tenant_id: UUID
    query_id: UUID


class EventTokens:
    """Makes and verifies tokens; the first key makes them, all of them verify."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def make(self, tenant_id: UUID, query_id: UUID) -> str:
        """Return the token of an answer; empty without keys."""
        if not self._keys:
            return ""
        bound = tenant_id.bytes + query_id.bytes
        return base64.urlsafe_b64encode(bound + _mac(self._keys[0], bound)).decode()

    def verify(self, token: str, now: datetime) -> EventToken:
        """Return which answer a token was given with. Raises `UnauthenticatedError`."""
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise _refused("is malformed") from None
        if len(raw) != _BYTES:
            raise _refused("is malformed")
        bound, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not any(hmac.compare_digest(_mac(key, bound), mac) for key in self._keys):
            raise _refused("was not made here")
        found = EventToken(UUID(bytes=bound[:16]), UUID(bytes=bound[16:]))
        if now - time_of(found.query_id) > LIFETIME:
            raise _refused("has expired")
        return found


def _mac(key: bytes, bound: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + bound, hashlib.sha256)[:_MAC_BYTES]


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        f"The event token {why}.",
        advice="Send the `event_token` of the answer that the event is about, in time.",
    )
