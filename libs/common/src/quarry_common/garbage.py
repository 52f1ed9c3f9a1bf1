"""Fewer looks for cyclic garbage, which took a tenth of a search's time."""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 20_000
"""Containers made since the last look that make one due; Python's own default of 700 is a few per request."""


def look_seldom() -> None:
    """Leave out of every later look what a process has built to keep, and look less often.

    To be called when a process is ready to work. What holds no cycle is freed at once, as ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
