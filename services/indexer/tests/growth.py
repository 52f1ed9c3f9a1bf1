"""How the work of a function grows with its input."""

import time
from collections.abc import Callable

TIMES_LONGER = 8
COMPARISONS = 5
SLACK = 5
"""How many times more than that is let pass; growth with the square would be `TIMES_LONGER`."""


def grows_with_length(work: Callable[[int], object], length: int, *, floor_seconds: float = 0.01) -> bool:
    """Return whether `work` for an input of `TIMES_LONGER` times `length` takes about so many times as much.

    The CPU that both take is compared, and again when the longer one took too much: a machine that is held
    up in one of them is not held up in each. Less than `floor_seconds` is too little to compare with.
    """
    work(max(length // 100, 1))
    for _ in range(COMPARISONS):
        short, long = _cpu_seconds(work, length), _cpu_seconds(work, TIMES_LONGER * length)
        if long < SLACK * TIMES_LONGER * max(short, floor_seconds):
            return True
    return False


def _cpu_seconds(work: Callable[[int], object], length: int) -> float:
    began = time.process_time()
    work(length)
    return time.process_time() - began
