"""Opaque cursors of keyset pagination."""

import base64
import binascii
from uuid import UUID

from quarry_common.errors import FieldError, ValidationError

_BETWEEN = ":"
_DIGITS = 18


def encode(of: str, position: str) -> str:
    """Return the cursor that goes on after `position` in the list `of`, such as `documents`."""
    return base64.urlsafe_b64encode(f"{of}{_BETWEEN}{position}".encode()).decode().rstrip("=")


def decode(of: str, cursor: str) -> str:
    """Return the position of a cursor. Raises `ValidationError` for one that the list `of` did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid() from None
    made_by, _, position = text.partition(_BETWEEN)
    # Positions are names and ids: what cannot be shown, such as NUL, no database should be asked for.
    if made_by != of or not position.isprintable():
        raise _invalid()
    return position


def decode_id(of: str, cursor: str | None) -> UUID | None:
    """Return the id in a cursor of the list `of`, or None without one."""
    if cursor is None:
        return None
    try:
        return UUID(decode(of, cursor))
    except ValueError:
        raise _invalid() from None


def decode_timed_id(of: str, cursor: str | None) -> UUID | None:
    """Return the UUIDv7 in a cursor of the list `of`, or None without one."""
    found = decode_id(of, cursor)
    if found is not None and found.version != 7:
        raise _invalid()
    return found


def encode_number(of: str, position: int) -> str:
    """Return the cursor that goes on after the number `position`, at most 18 digits long."""
    return encode(of, f"{position:0{_DIGITS}d}")


def decode_number(of: str, cursor: str | None) -> int | None:
    """Return the number in a cursor of the list `of`, or None without one."""
    if cursor is None:
        return None
    position = decode(of, cursor)
    # All are equally long, so that what was cut off is no other number.
    if not position.isascii() or not position.isdigit() or len(position) != _DIGITS:
        raise _invalid()
    return int(position)


def _invalid() -> ValidationError:
    message = "is not a cursor of this list; use `next_cursor` of the answer before, unchanged"
    return ValidationError("The cursor is not valid.", errors=[FieldError("cursor", message)])
