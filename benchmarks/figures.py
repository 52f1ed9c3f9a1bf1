"""Single figures beside their targets, and what they were made of."""

import math
from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """Something measured; `target` is the most it should be, or the least when more is better."""

    what: str
    value: float
    unit: str
    target: float | None = None
    more_is_better: bool = False

    @property
    def wanted(self) -> str:
        """The target in words."""
        if self.target is None:
            return ""
        return f"{'at least' if self.more_is_better else 'at most'} {self.target:g}"


class Figures(msgspec.Struct, frozen=True):
    """Figures of one part of a run."""

    title: str
    figures: list[Figure]
    samples: dict[str, list[float]] = {}
    """Everything that was measured, by what it is."""
    load_average: float = 0.0


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that `share` of all do not exceed."""
    return sorted(samples)[max(math.ceil(share * len(samples)) - 1, 0)]
