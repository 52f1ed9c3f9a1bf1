"""The named vectors of a collection, and vectors checked against them.

Everything is checked before the library sees it: it writes an operation to its log first, and a sparse
vector with unequal lengths makes it panic.
"""

from __future__ import annotations

import msgspec
import qdrant_edge as edge

from quarry_local.vector_engine.errors import WrongInputError
from quarry_local.vector_engine.wire.base import NamedVectors, SparseVector

DEFAULT = ""
"""Name of the vector of a collection that has only one and does not name it."""

MAX_SPARSE_INDEX = 2**32 - 1


class VectorSchema(msgspec.Struct, frozen=True):
    """Sizes of the dense vectors by name, and names of the sparse ones."""

    dense: dict[str, int]
    sparse: frozenset[str]

    def stored(self, vector: list[float] | NamedVectors) -> edge.Vector:
        """Return a point's vectors as the library takes them; raises `WrongInputError`."""
        named = {DEFAULT: vector} if isinstance(vector, list) else vector
        return {name: self._checked(name, value) for name, value in named.items()}

    def queried(self, name: str, vector: list[float] | SparseVector) -> edge.NamedVector:
        """Return the vector of a query on `name`; raises `WrongInputError`."""
        return self._checked(name, vector)

    def _checked(self, name: str, vector: list[float] | SparseVector) -> edge.NamedVector:
        if isinstance(vector, SparseVector):
            if name not in self.sparse:
                raise self._unfit(name, "a sparse")
            return sparse_vector(vector.indices, vector.values)
        size = self.dense.get(name)
        if size is None:
            raise self._unfit(name, "a dense")
        if len(vector) != size:
            raise WrongInputError(f"Vector dimension error: expected dim: {size}, got {len(vector)}")
        return vector

    def _unfit(self, name: str, given: str) -> WrongInputError:
        if name in self.dense or name in self.sparse:
            return WrongInputError(f"{given} vector was given for `{name}`, which is of the other kind")
        return WrongInputError(f"Not existing vector name error: {name}")


def sparse_vector(indices: list[int], values: list[float]) -> edge.SparseVector:
    """Return a sparse vector; raises `WrongInputError` unless each index is unique and has one value."""
    if len(indices) != len(values):
        raise WrongInputError(
            "Validation error: a sparse vector must be the same length of indices and values"
        )
    if len(set(indices)) != len(indices):
        raise WrongInputError("Validation error: the indices of a sparse vector must be unique")
    if indices and not (min(indices) >= 0 and max(indices) <= MAX_SPARSE_INDEX):
        raise WrongInputError(
            "Validation error: an index of a sparse vector is not an unsigned 32-bit integer"
        )
    return edge.SparseVector(indices, values)
