import msgspec

PointId = int | str
"""An unsigned 64-bit integer or the text of a UUID."""


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of request bodies: nothing in a request is ignored silently."""


class SparseVector(Wire, frozen=True):
    """The non-zero dimensions of a vector and their values."""

    indices: list[int]
    values: list[float]


NamedVectors = dict[str, list[float] | SparseVector]
