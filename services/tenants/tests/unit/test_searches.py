"""The daily search quota: blocks, what is told, days."""

from datetime import UTC, date, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common.contracts.events import QuotaExceeded, QuotaThresholdReached
from quarry_common.contracts.usage import (
    LeaseSearches,
    Quota,
    ReportSearches,
    SearchTally,
    SettleSearches,
    UsageRange,
)
from quarry_common.errors import ValidationError
from quarry_common.ids import new_id
from quarry_tenants.domain import searches
from quarry_tenants.domain.searches import CountedDay

DAY = date(2026, 11, 2)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
TENANT = new_id()


def lease(**changes: object) -> LeaseSearches:
    asked = {"day": DAY, "limit": 100, "wanted": 10, "answered": 0, **changes}
    return LeaseSearches(tenant_id=TENANT, lease_id=new_id(), **asked)  # type: ignore[arg-type]


def settlement(**changes: object) -> SettleSearches:
    asked = {"day": DAY, "limit": 100, "unused": 0, "answered": 0, **changes}
    return SettleSearches(tenant_id=TENANT, lease_id=new_id(), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "leased", "wanted", "granted"),
    [
        (None, 10**9, 50, 50),
        (1_600, 0, 1_000, 100),
        (1_600, 0, 50, 50),
        (1_600, 1_568, 50, 2),
        (1_600, 1_569, 50, 1),
        (1_600, 1_599, 50, 1),
        (1_600, 1_600, 50, 0),
        (1_600, 2_000, 50, 0),  # the limit was lowered
        (0, 0, 50, 0),
        (1_600, 0, 0, 0),
    ],
)
def test_a_block_is_a_sixteenth_of_what_remains(
    limit: int | None, leased: int, wanted: int, granted: int
) -> None:
    assert searches.granted(limit, leased, wanted) == granted


@pytest.mark.parametrize(
    ("leased", "wanted", "needed", "granted"),
    [(0, 50, 20, 50), (1_500, 50, 20, 20), (1_580, 50, 20, 20), (1_581, 50, 20, 0), (1_581, 50, 1, 1)],
)
def test_a_batch_gets_what_it_needs_or_nothing(leased: int, wanted: int, needed: int, granted: int) -> None:
    assert searches.granted(1_600, leased, wanted, needed) == granted


@given(st.integers(0, 10_000), st.lists(st.integers(1, 500), max_size=5))
def test_blocks_together_reach_the_limit_and_never_pass_it(limit: int, wanted: list[int]) -> None:
    leased, blocks = 0, []
    while block := searches.granted(limit, leased, (wanted or [64])[len(blocks) % (len(wanted) or 1)]):
        blocks.append(block)
        leased += block

    assert leased == limit
    assert blocks[-1:] in ([], [1])


def test_what_is_given_back_can_be_leased_again() -> None:
    day = searches.settled(CountedDay(leased=100, answered=60), settlement(unused=16, answered=4))

    assert day == CountedDay(leased=84, answered=64)
    assert searches.leased(day, lease()) == (CountedDay(leased=85, answered=64), 1)


def test_a_lease_that_was_dropped_as_lost_gives_nothing_back_a_second_time() -> None:
    dropped = CountedDay(leased=60, answered=60)

    assert searches.settled(dropped, settlement(unused=30, answered=10)) == CountedDay(70, 70)


def test_the_threshold_follows_answered_searches_not_blocks() -> None:
    held, nothing = searches.told(CountedDay(leased=95, answered=79), 100, refused=False)
    day, events = searches.told(CountedDay(leased=95, answered=80), 100, refused=False)

    assert (held.told, nothing) == (0, [])
    assert day.told == 80
    assert events == [QuotaThresholdReached(quota=Quota.SEARCHES, limit=100, used=80, percent=80)]


@pytest.mark.parametrize(
    ("day", "refused"),
    [
        (CountedDay(leased=100, answered=100, told=80), False),
        # A gateway died with its block: what it held is never answered.
        (CountedDay(leased=100, answered=90, told=80), True),
    ],
)
def test_the_end_is_told_when_all_is_answered_or_one_is_refused(day: CountedDay, refused: bool) -> None:
    after, events = searches.told(day, 100, refused=refused)

    assert after.told == 100
    assert events == [QuotaExceeded(quota=Quota.SEARCHES, limit=100, used=100)]


def test_the_end_is_not_told_while_something_can_be_leased() -> None:
    day, events = searches.told(CountedDay(leased=99, answered=99, told=80), 100, refused=False)

    assert (day.told, events) == (80, [])


def test_the_threshold_is_not_missed_when_the_end_comes_first() -> None:
    _, events = searches.told(CountedDay(leased=100, answered=10), 100, refused=True)

    assert [event.type for event in events] == ["quota.threshold_reached", "quota.exceeded"]


@pytest.mark.parametrize("limit", [50, 100, 200])
def test_each_is_told_once_a_day_whatever_becomes_of_the_limit(limit: int) -> None:
    day, events = searches.told(CountedDay(leased=100, answered=100, told=100), limit, refused=True)

    assert (day.told, events) == (100, [])


def test_without_a_limit_nothing_is_told() -> None:
    assert searches.told(CountedDay(10**6, 10**6), None, refused=False) == (CountedDay(10**6, 10**6), [])


def test_of_a_quota_of_none_the_first_refusal_is_told() -> None:
    assert searches.told(CountedDay(), 0, refused=False) == (CountedDay(), [])
    assert len(searches.told(CountedDay(), 0, refused=True)[1]) == 2


@pytest.mark.parametrize(
    ("now", "leased", "settled"),
    [
        (datetime(2026, 11, 1, 22, 59, tzinfo=UTC), False, False),
        (datetime(2026, 11, 1, 23, 0, tzinfo=UTC), True, True),
        (NOON, True, True),
        (datetime(2026, 11, 3, 0, 59, tzinfo=UTC), True, True),
        (datetime(2026, 11, 3, 1, 0, tzinfo=UTC), False, True),
        (datetime(2027, 11, 3, tzinfo=UTC), False, True),
    ],
)
def test_a_day_is_leased_by_clocks_right_to_an_hour_and_settled_ever_after(
    now: datetime, leased: bool, settled: bool
) -> None:
    for check, request, fine in (
        (searches.check_lease, lease(), leased),
        (searches.check_settlement, settlement(), settled),
    ):
        if fine:
            check(request, now)  # type: ignore[operator]
        else:
            with pytest.raises(ValidationError) as caught:
                check(request, now)  # type: ignore[operator]
            assert [error.field for error in caught.value.data.errors] == ["day"]


@pytest.mark.parametrize("field", ["wanted", "answered", "limit"])
def test_no_number_is_below_zero(field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        searches.check_lease(lease(**{field: -1}), NOON)

    assert [error.field for error in caught.value.data.errors] == [field]


def test_tallies_of_one_tenant_and_day_are_added_whatever_their_order() -> None:
    other = new_id()  # later ids are larger
    tallies = [
        SearchTally(other, DAY, None, 1),
        SearchTally(TENANT, DAY, 100, 2),
        SearchTally(TENANT, DAY, None, 3),
        SearchTally(TENANT, date(2026, 11, 1), None, 4),
    ]

    assert searches.merged(tallies) == [
        SearchTally(TENANT, date(2026, 11, 1), None, 4),
        SearchTally(TENANT, DAY, 100, 5),
        SearchTally(other, DAY, None, 1),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"answered": -1}, "answered"),
        ({"answered": 10**10}, "answered"),
        ({"limit": -1}, "limit"),
        ({"day": date(2026, 11, 4)}, "day"),
    ],
)
def test_a_report_of_what_cannot_be_is_refused(change: dict[str, object], field: str) -> None:
    tally = SearchTally(TENANT, DAY, 100, 1)
    report = ReportSearches(new_id(), [tally, msgspec.structs.replace(tally, **change)])

    with pytest.raises(ValidationError) as caught:
        searches.check_report(report, NOON)

    assert [error.field for error in caught.value.data.errors] == [f"tallies[1].{field}"]


def test_a_report_is_bounded() -> None:
    report = ReportSearches(new_id(), [SearchTally(TENANT, DAY, 100, 1)] * (searches.MAX_TALLIES + 1))

    with pytest.raises(ValidationError):
        searches.check_report(report, NOON)


@pytest.mark.parametrize("last", [date(2026, 11, 1), date(2029, 11, 6), date.max])
def test_days_are_asked_for_in_order_and_not_without_end(last: date) -> None:
    with pytest.raises(ValidationError):
        searches.check_range(UsageRange(TENANT, DAY, last))
