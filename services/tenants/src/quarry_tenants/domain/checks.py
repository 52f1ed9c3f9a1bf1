"""Checks that several requests share; each returns what is wrong."""

import re
from typing import Final

from quarry_common.errors import FieldError, ValidationError

MAX_NAME_LENGTH: Final = 200
MAX_PAGE: Final = 200
MAX_LISTED: Final = 1_000
"""Collections, or principals, that a key may name."""
MAX_LISTED_LENGTH: Final = 200

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def name_errors(name: str) -> list[FieldError]:
    """Return what is wrong with a name that people gave."""
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        return [FieldError("name", f"must be 1 to {MAX_NAME_LENGTH} characters that are not all blank")]
    if CONTROL.search(name):
        return [FieldError("name", "must not hold control characters")]
    return []


def listed_errors(field: str, values: frozenset[str] | None) -> list[FieldError]:
    """Return what is wrong with names of collections, or of principals, that a key is bound to."""
    if values is None:
        return []
    if len(values) > MAX_LISTED:
        return [FieldError(field, f"must be at most {MAX_LISTED}")]
    if any(not value or len(value) > MAX_LISTED_LENGTH or CONTROL.search(value) for value in values):
        return [FieldError(field, f"each must be 1 to {MAX_LISTED_LENGTH} characters, none a control one")]
    return []


def check_limit(limit: int) -> int:
    """Return `limit`. Raises `ValidationError` when no page has that length."""
    if not 1 <= limit <= MAX_PAGE:
        refuse([FieldError("limit", f"must be 1 to {MAX_PAGE}")])
    return limit


def refuse(errors: list[FieldError]) -> None:
    """Raise `ValidationError` when there are any."""
    if errors:
        raise ValidationError("The request is not valid.", errors=errors)
