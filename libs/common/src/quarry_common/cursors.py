"""Opaque cursors of keyset pagination."""

import base64
import binascii
from uuid import UUID

from quarry_common.errors import FieldError, ValidationError


def encode(position: str) -> str:
    """Return the cursor that goes on after `position`."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """Return the position of a cursor. Raises `ValidationError` for one that was not made here."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid() from None


def decode_id(cursor: str | None) -> UUID | None:
    """Return the id in a cursor, or None without one."""
    if cursor is None:
        return None
    try:
        return UUID(decode(cursor))
    except ValueError:
        raise _invalid() from None


def _invalid() -> ValidationError:
    message = "is not a cursor of this list; use `next_cursor` of the answer before, unchanged"
    return ValidationError("The cursor is not valid.", errors=[FieldError("cursor", message)])
