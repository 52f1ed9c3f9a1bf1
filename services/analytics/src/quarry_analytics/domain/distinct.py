"""Counting hashes of which none counts twice."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_HASH: Final = np.dtype("<i8")
Hashes = NDArray[np.int64]


class Distinct:
    """Hashes. Many are put together only when they are asked for, so that merging costs next to nothing."""

    def __init__(self, stored: bytes = b"") -> None:
        """Begin with nothing, or with what another one was encoded to."""
        self._single: set[int] = set()
        self._parts: list[Hashes] = [np.frombuffer(stored, _HASH)] if stored else []

    def add(self, value: int) -> None:
        """Take in a hash."""
        self._single.add(value)

    def merge(self, other: "Distinct") -> None:
        """Take in all that another one holds."""
        self._single |= other._single
        self._parts += other._parts

    def values(self) -> Hashes:
        """Return the hashes, sorted."""
        if self._single or len(self._parts) > 1:
            single = np.fromiter(self._single, _HASH, len(self._single))
            self._parts = [_once(np.concatenate([*self._parts, single]))]
            self._single = set()
        return self._parts[0] if self._parts else np.empty(0, _HASH)

    def __len__(self) -> int:
        return len(self.values())

    def encode(self) -> bytes:
        """Return it as it is stored: sorted, eight bytes each, the least significant first."""
        return self.values().astype(_HASH, copy=False).tobytes()


def _once(values: Hashes) -> Hashes:
    # What is put together is sorted part by part, and a stable sort merges that: several times as fast as
    # `np.unique`.
    values.sort(kind="stable")
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return values[new]
