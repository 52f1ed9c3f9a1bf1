"""`Idempotency-Key`: a request that is sent again does no more than once."""

from typing import Final

from quarry_common.errors import FieldError, ValidationError
from quarry_gateway.gateway import Call
from quarry_gateway.http.operations import Header

MAX_LENGTH: Final = 255
IDEMPOTENCY_KEY: Final = Header(
    "Idempotency-Key",
    "A repeated request with the same key gives the first answer for 24 hours; another request with it is "
    "refused.",
    {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": "^[ -~]+$"},
)


def idempotency_key(request: Call) -> str | None:
    """Return the key that `request` carries, if any. Raises `ValidationError` when it cannot be one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_LENGTH or not key.isascii() or not key.isprintable():
        raise ValidationError(
            "The idempotency key is not valid.",
            errors=[FieldError(IDEMPOTENCY_KEY.name, "must be 1 to 255 printable ASCII characters")],
        )
    return key
