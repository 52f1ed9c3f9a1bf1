"""Queries are the same whatever their case, spaces and composition; percentiles keep what they promise."""

import random

from quarry_analytics.domain.sketches import Sketch
from quarry_analytics.domain.texts import hash_of, normal


def test_case_spaces_and_composition_make_no_other_query() -> None:
    assert normal("  Straße\t FOO ") == normal("STRASSE foo")
    assert normal("Ku\u0308ndigung") == normal("K\u00fcndigung")
    assert hash_of(normal("lease")) != hash_of(normal("leases"))


def test_merged_sketches_are_within_one_percent_of_ranks() -> None:
    rng = random.Random(5)
    values = [rng.lognormvariate(2, 1) for _ in range(40_000)]
    whole = Sketch()
    for start in range(0, len(values), 97):
        part = Sketch()
        for value in values[start : start + 97]:
            part.add(value)
        whole.merge(Sketch(part.encode()))

    values.sort()
    for rank, found in zip((0.5, 0.95, 0.99), whole.quantiles((0.5, 0.95, 0.99)), strict=True):
        assert found is not None
        assert abs(sum(value <= found for value in values) / len(values) - rank) < 0.01
    assert Sketch().quantiles((0.5,)) == [None]
