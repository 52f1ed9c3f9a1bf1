"""The law of the buckets: what passes, what does not, and when it would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_gateway.limits.gcra import SECOND, Limit, charge, limit_of, remaining, wait

LIMITS = st.builds(Limit, st.integers(1, 20_000), st.integers(0, 5_000))
ARRIVALS = st.lists(st.tuples(st.integers(0, SECOND // 5), st.integers(1, 60)), min_size=1, max_size=60)
"""Microseconds since the one before, and the cost."""


def passing(limit: Limit, arrivals: list[tuple[int, int]]) -> list[tuple[int, int, bool, int]]:
    """Return of each arrival when it came, its cost, whether it passed, and the debt before."""
    now = paid_at = 0
    log = []
    for pause, cost in arrivals:
        now += pause
        before = max(0, paid_at - now)
        allowed, (debt,) = charge([limit], [before], cost)
        paid_at = now + debt
        log.append((now, cost, allowed, before))
    return log


@settings(max_examples=150, deadline=None)
@given(limit=LIMITS, arrivals=ARRIVALS)
def test_in_any_time_no_more_passes_than_the_burst_and_what_the_rate_gives(
    limit: Limit, arrivals: list[tuple[int, int]]
) -> None:
    passed = [(at, cost) for at, cost, allowed, _ in passing(limit, arrivals) if allowed]
    for first, (began, _) in enumerate(passed):
        total = largest = 0
        for at, cost in passed[first:]:
            total += cost
            largest = max(largest, cost)
            assert total <= max(limit.burst, largest) + (at - began) / limit.interval


@settings(max_examples=150, deadline=None)
@given(limit=LIMITS, arrivals=ARRIVALS)
def test_what_is_refused_would_have_been_too_much(limit: Limit, arrivals: list[tuple[int, int]]) -> None:
    for _, cost, allowed, debt in passing(limit, arrivals):
        assert allowed == (debt == 0 or debt + cost * limit.interval <= limit.burst * limit.interval)


@given(limit=LIMITS, debt=st.integers(1, 10 * SECOND), cost=st.integers(1, 60))
def test_it_passes_after_the_wait_and_not_before(limit: Limit, debt: int, cost: int) -> None:
    needed = wait(limit, debt, cost)

    assert charge([limit], [max(0, debt - needed)], cost)[0]
    if needed:
        assert not charge([limit], [debt - needed + 1], cost)[0]


def test_a_whole_burst_passes_at_once_and_not_one_more() -> None:
    limit, debt = Limit(50, 50), 0
    for left in reversed(range(50)):
        allowed, (debt,) = charge([limit], [debt], 1)
        assert allowed
        assert remaining(limit, debt) == left

    assert charge([limit], [debt], 1) == (False, [debt])
    assert wait(limit, debt, 1) == SECOND // 50


def test_all_buckets_are_charged_or_none() -> None:
    wide, narrow = Limit(100, 100), Limit(1, 1)
    allowed, debts = charge([wide, narrow], [0, 0], 1)
    assert allowed

    assert charge([wide, narrow], debts, 1) == (False, debts)
    assert charge([narrow, wide], debts[::-1], 1) == (False, debts[::-1])


def test_a_cost_beyond_the_burst_passes_a_bucket_without_debt_and_is_paid_for() -> None:
    limit = Limit(20, 40)
    allowed, (debt,) = charge([limit], [0], 50)
    assert allowed
    assert debt == 50 * SECOND // 20

    assert not charge([limit], [1], 50)[0]
    assert wait(limit, 1, 50) == 1
    assert wait(limit, debt, 1) == 11 * SECOND // 20


def test_what_the_same_request_paid_before_is_no_debt() -> None:
    limit = Limit(20, 40)
    _, (debt,) = charge([limit], [0], 1)
    assert not charge([limit], [debt], 49)[0]

    assert charge([limit], [debt], 49, paid=1) == charge([limit], [0], 50)
    # What another request paid is.
    assert not charge([limit], [debt + 1], 49, paid=1)[0]
    assert charge([limit], [debt + 1], 30, paid=1)[0]


def test_a_burst_of_none_lets_one_pass_at_a_time() -> None:
    limit = Limit(10, 0)
    allowed, (debt,) = charge([limit], [0], 1)

    assert allowed
    assert wait(limit, debt, 1) == SECOND // 10


def test_limits_come_from_quotas() -> None:
    assert limit_of(None, None) is None
    assert limit_of(None, 10) is None
    assert limit_of(100, None) == Limit(100, 100)
    assert limit_of(100, 200) == Limit(100, 200)
    assert limit_of(0, 5) == Limit(0, 5)
    assert Limit(0, 5).closed


def test_any_rate_has_an_interval() -> None:
    assert Limit(2**53, 2**53).interval == 1
    assert Limit(3, 1).interval == 333_333
