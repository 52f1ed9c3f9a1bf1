"""Python's cyclic garbage collector, set for a process that answers requests for days."""

import gc
from typing import Final

ALLOCATIONS: Final = 50_000
"""Containers that may come into being, beyond those that went, between two collections of the young.

One answer of a search makes thousands that all go by reference count. With Python's own 700 the collector
looks through them several times per request and finds nothing.
"""


def settle() -> None:
    """Leave out of every collection what exists now; call it once, when the process is ready to work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 10, 10)
