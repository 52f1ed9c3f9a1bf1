"""A dense vector in eight bits a number, as text.

It stands in a point's payload and is read with the passage. Twenty vectors as JSON numbers are 160 kB, which
takes longer than the rest of a search; their codes are 10 kB, and near enough to compare passages.
"""

from base64 import b64decode, b64encode
from binascii import Error

import numpy as np
from numpy.typing import NDArray

_LARGEST = 127


def encode(vector: NDArray[np.float32]) -> str:
    """Return the code of `vector`: its direction, the largest number as 127."""
    largest = float(np.abs(vector).max(initial=0.0))
    scale = _LARGEST / largest if largest > 0 else 0.0
    return b64encode(np.rint(vector * scale).astype(np.int8).tobytes()).decode()


def decode(code: str, dimensions: int) -> NDArray[np.float32] | None:
    """Return a vector of length 1 in the direction of what was encoded; None if `code` is no code of one."""
    try:
        numbers = np.frombuffer(b64decode(code, validate=True), dtype=np.int8)
    except (Error, ValueError):
        return None
    length = float(np.linalg.norm(numbers.astype(np.float32)))
    if len(numbers) != dimensions or not length:
        return None
    return numbers.astype(np.float32) / np.float32(length)
