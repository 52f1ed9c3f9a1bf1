from typing import TypeVar

import msgspec

from quarry_local.vector_engine.errors import FormatError

PointId = int | str
"""An unsigned 64-bit integer or the text of a UUID."""


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of request bodies: nothing in a request is ignored silently."""


class SparseVector(Wire, frozen=True):
    """The non-zero dimensions of a vector and their values."""

    indices: list[int]
    values: list[float]


NamedVectors = dict[str, list[float] | SparseVector]


BodyT = TypeVar("BodyT")


def decoded(decoder: msgspec.json.Decoder[BodyT], body: bytes) -> BodyT:
    """Return what a body holds; raises `FormatError`."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"JSON body: {error}") from None
    except RecursionError:
        raise FormatError("JSON body: nested too deeply") from None
