"""What gateways tell of the use of keys."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from quarry_common.contracts.api_keys import KeyTally, ReportKeyUse
from quarry_common.errors import ValidationError
from quarry_common.ids import new_id
from quarry_tenants.domain.key_use import DayUse, check_report, merged

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY = date(2026, 11, 2)
TENANT, KEY = new_id(), new_id()
TALLY = KeyTally(TENANT, KEY, DAY, requests=3, denied=1, last_used_at=NOW)


def test_tallies_of_one_key_and_day_are_added() -> None:
    other = new_id()  # later ids are larger
    earlier = msgspec.structs.replace(TALLY, requests=2, denied=2, last_used_at=NOW - timedelta(hours=1))
    tallies = [msgspec.structs.replace(TALLY, tenant_id=other), TALLY, earlier]

    assert merged(tallies, NOW) == [DayUse(TENANT, KEY, DAY, 5, 3, NOW), DayUse(other, KEY, DAY, 3, 1, NOW)]


def test_nobody_used_a_key_in_the_future() -> None:
    ahead = msgspec.structs.replace(TALLY, last_used_at=NOW + timedelta(days=1))

    assert merged([ahead], NOW)[0].last_used_at == NOW


def test_a_key_without_requests_was_not_used() -> None:
    assert merged([msgspec.structs.replace(TALLY, requests=0, denied=0)], NOW) == []


@pytest.mark.parametrize(
    "change",
    [
        {"requests": -1, "denied": -1},
        {"denied": -1},
        {"denied": 4},
        {"requests": 10**10},
        {"day": date(2026, 11, 3)},
        {"last_used_at": datetime(2026, 11, 2)},  # noqa: DTZ001 - what is refused
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object]) -> None:
    report = ReportKeyUse(new_id(), [TALLY, msgspec.structs.replace(TALLY, **change)])

    with pytest.raises(ValidationError) as caught:
        check_report(report, NOW)

    assert [error.field for error in caught.value.data.errors] == ["tallies[1]"]


def test_a_report_is_bounded() -> None:
    with pytest.raises(ValidationError):
        check_report(ReportKeyUse(new_id(), [TALLY] * 5_001), NOW)
