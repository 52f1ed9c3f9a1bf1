"""Where the next page begins. A cursor belongs to one query of one tenant."""

import base64
import binascii
import hashlib

import msgspec

from quarry_common.contracts.search import Query
from quarry_common.errors import FieldError, ValidationError

MAX_DEPTH = 1000
"""Passages that one leg is asked for at most, however large the pages."""
PAGES = 10
"""Pages of the first request's size that one leg is asked for."""

_FINGERPRINT_BYTES = 12


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """How deep the ranked list reaches, and how much of it has been shown.

    The depth is the first page's: a list that is fused anew of deeper legs would be in another order.
    """

    fingerprint: bytes
    depth: int
    offset: int


def begin(query: Query, leg_limit: int) -> Cursor:
    """Return the cursor of the first page."""
    depth = min(max(leg_limit, query.limit * PAGES), MAX_DEPTH)
    return Cursor(_fingerprint(query), depth, 0)


def resume(query: Query, leg_limit: int) -> Cursor:
    """Return where `query` begins or goes on; raises `ValidationError` when its cursor is not its own."""
    if query.cursor is None:
        return begin(query, leg_limit)
    try:
        raw = base64.b64decode(query.cursor.encode("ascii"), altchars=b"-_", validate=True)
        cursor = msgspec.msgpack.decode(raw, type=Cursor)
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError, msgspec.ValidationError):
        raise _wrong("is not a cursor; send `next_cursor` of an answer as it is") from None
    if not (1 <= cursor.depth <= MAX_DEPTH and 0 <= cursor.offset <= 2 * MAX_DEPTH):
        raise _wrong("is not a cursor; send `next_cursor` of an answer as it is")
    if cursor.fingerprint != _fingerprint(query):
        raise _wrong(
            "belongs to another query; only `limit`, `highlight`, `facets` and `explain` may change between "
            "the pages of one"
        )
    return cursor


def after(cursor: Cursor, shown: int) -> str:
    """Return the cursor of the page that follows `shown` more results."""
    following = msgspec.structs.replace(cursor, offset=cursor.offset + shown)
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(following)).decode("ascii")


def _fingerprint(query: Query) -> bytes:
    same = (
        query.tenant_id,
        query.query,
        query.mode,
        query.filters,
        query.group_by_document,
        query.sort,
        query.min_score,
        query.rerank,
    )
    return hashlib.blake2b(msgspec.json.encode(same), digest_size=_FINGERPRINT_BYTES).digest()


def _wrong(message: str) -> ValidationError:
    return ValidationError("The cursor cannot be used.", errors=[FieldError("cursor", message)])
