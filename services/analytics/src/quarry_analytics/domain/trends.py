"""Which queries are searched more than was to be expected, beyond chance and beyond the time of the week.

A window is held against the same hours of the weeks before. How often a query comes is a count that
varies from week to week by more than chance alone: it is taken as negative binomial around the mean of
the weeks before, which is scaled by how much is searched in all.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from scipy import special

MIN_SEARCHES: Final = 10
MIN_CLIENTS: Final = 3
MAX_P_VALUE: Final = 0.01
MIN_RATIO: Final = 2.0
DISPERSION: Final = 0.15
"""Variance beyond Poisson's, as a share of the squared mean: a query's weeks differ by 39 percent and
chance."""
UNSEEN: Final = 0.5
"""Searches that a query is given besides those in the weeks before, which are few."""
SCALES: Final = (0.5, 2.0)
"""How much what is searched in all may scale what is expected of one query."""


class Observed(msgspec.Struct, frozen=True):
    """How often a query was searched in the window and, latest first, in the same hours of the weeks
    before."""

    query_hash: int
    searches: int
    clients: int
    before: Sequence[int]


class Evidence(msgspec.Struct, frozen=True):
    """How much more a query was searched than was to be expected."""

    observed: Observed
    expected: float
    score: float
    p_value: float


def trending(observed: Sequence[Observed], totals: Sequence[int]) -> tuple[int, list[Evidence]]:
    """Return how many queries had enough support to be looked at, and those that trend, the strongest first.

    `totals` are all searches of the window and of each of the windows before. P-values are corrected for the
    number of queries (Holm 1979), so that a false trend is found in one of a hundred answers at most.
    """
    weeks = sum(total > 0 for total in totals[1:])
    if weeks == 0:
        return 0, []
    scale = min(max(totals[0] / (sum(totals[1:]) / weeks), SCALES[0]), SCALES[1])
    supported = [each for each in observed if each.searches >= MIN_SEARCHES and each.clients >= MIN_CLIENTS]
    judged = sorted(
        (_judge(each, weeks, scale) for each in supported), key=lambda each: (each.p_value, -each.score)
    )
    found, worst = [], 0.0
    for place, evidence in enumerate(judged):
        worst = max(worst, min(1.0, evidence.p_value * (len(judged) - place)))
        if worst > MAX_P_VALUE:
            break
        if evidence.observed.searches >= MIN_RATIO * evidence.expected:
            found.append(msgspec.structs.replace(evidence, p_value=worst))
    return len(supported), sorted(found, key=lambda each: -each.score)


def _judge(observed: Observed, weeks: int, scale: float) -> Evidence:
    expected = (sum(observed.before) + UNSEEN) / weeks * scale
    # The mean itself is known from so many weeks only.
    variance = expected + DISPERSION * expected**2 + expected * scale / weeks
    size = expected**2 / (variance - expected)
    p_value = float(special.betainc(observed.searches, size, expected / (size + expected)))
    return Evidence(observed, expected, (observed.searches - expected) / math.sqrt(variance), p_value)
