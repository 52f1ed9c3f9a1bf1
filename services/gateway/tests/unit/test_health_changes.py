from datetime import UTC, datetime, timedelta
from uuid import UUID

from quarry_common.contracts.events import HealthCheckFailed, HealthRecovered
from quarry_common.health import CheckResult
from quarry_gateway.health.changes import MAX_WAITING, HealthChanges, HealthEvent

START = datetime(2027, 1, 31, 9, tzinfo=UTC)
WELL = CheckResult(ok=True, latency_ms=1.0)
BAD = CheckResult(ok=False, latency_ms=1.0, detail="The cache does not answer.")


class Gateways:
    """Gateways that look at the same time, each by a clock a second ahead of the one before."""

    def __init__(self, count: int) -> None:
        self.each = [HealthChanges() for _ in range(count)]
        self.heard = [0] * count
        self.stream: list[tuple[UUID, HealthEvent]] = []
        self.now = START

    def look(self, *results: CheckResult, connected: bool = True) -> None:
        self.now += timedelta(seconds=15)
        for number, result in enumerate(results):
            self.each[number].see({"cache": result}, self.now + timedelta(seconds=number))
        if connected:
            for number in range(len(results)):
                self.tell(number)

    def tell(self, number: int) -> None:
        for event_id, event in self.stream[self.heard[number] :]:
            self.each[number].heard(event_id, event)
        self.stream += self.each[number].to_tell()
        self.heard[number] = len(self.stream)

    @property
    def told(self) -> list[str]:
        return [event.type.removeprefix("health.") for _, event in self.stream]

    def heir(self) -> "Gateways":
        """A gateway that starts when these are gone."""
        one = Gateways(1)
        one.stream, one.now = self.stream, self.now
        return one


def test_what_fails_once_is_not_told() -> None:
    gateways = Gateways(1)

    for result in (WELL, BAD, WELL, BAD, WELL):
        gateways.look(result)

    assert gateways.told == []


def test_what_fails_twice_is_told_once_and_that_it_is_well_again() -> None:
    gateways = Gateways(1)

    for result in (WELL, BAD, BAD, BAD, BAD, WELL, WELL):
        gateways.look(result)

    failed, recovered = [event for _, event in gateways.stream]
    step = timedelta(seconds=15)
    assert failed == HealthCheckFailed("cache", "The cache does not answer.", START + 2 * step)
    assert recovered == HealthRecovered("cache", "The cache does not answer.", START + 6 * step)


def test_one_of_several_gateways_tells_a_change() -> None:
    gateways = Gateways(3)

    for result in (WELL, BAD, BAD, BAD, WELL, WELL, BAD, BAD):
        gateways.look(*[result] * 3)

    assert gateways.told == ["check_failed", "recovered", "check_failed"]


def test_gateways_that_tell_at_the_same_moment_tell_the_same_event() -> None:
    gateways = Gateways(2)
    for result in (WELL, BAD, BAD):
        gateways.look(result, result, connected=False)

    one, other = ([event_id for event_id, _ in changes.to_tell()] for changes in gateways.each)

    assert len(one) == 1
    assert one == other


def test_the_next_failure_is_another_event() -> None:
    gateways = Gateways(1)

    for result in (BAD, BAD, WELL, BAD, BAD, WELL):
        gateways.look(result)

    assert len({event_id for event_id, _ in gateways.stream}) == 4


def test_what_could_not_be_told_is_told_in_order_when_the_bus_is_back_and_by_one_only() -> None:
    gateways = Gateways(2)
    for result in (BAD, BAD, WELL, BAD, BAD, WELL):
        gateways.look(result, result, connected=False)

    gateways.look(WELL, WELL)

    assert gateways.told == ["check_failed", "recovered", "check_failed", "recovered"]


def test_a_change_whose_telling_fails_waits() -> None:
    gateways = Gateways(1)
    gateways.look(BAD, connected=False)
    gateways.look(BAD, connected=False)
    (changes,) = gateways.each

    failed = next(iter(changes.to_tell()))

    assert list(changes.to_tell()) == [failed]
    assert list(changes.to_tell()) == []


def test_a_gateway_that_starts_knows_what_was_told_before() -> None:
    before = Gateways(1)
    before.look(BAD)
    before.look(BAD)
    heir = before.heir()

    for _ in range(4):
        heir.look(BAD)
    assert heir.told == ["check_failed"]
    heir.look(WELL)

    assert heir.told == ["check_failed", "recovered"]


def test_what_nobody_is_left_to_call_well_again_is_told_after_some_good_checks() -> None:
    gone = Gateways(1)
    gone.look(BAD)
    gone.look(BAD)
    heir = gone.heir()

    heir.look(WELL)
    heir.look(WELL)
    assert heir.told == ["check_failed"]
    for _ in range(5):
        heir.look(WELL)

    assert heir.told == ["check_failed", "recovered"]


def test_gateways_that_see_different_things_do_not_contradict_each_other_for_ever() -> None:
    gateways = Gateways(2)

    for _ in range(30):
        gateways.look(WELL, BAD)

    assert gateways.told == ["check_failed", "recovered"]


def test_what_waits_is_bounded() -> None:
    gateways = Gateways(1)
    for _ in range(MAX_WAITING):
        for result in (BAD, BAD, WELL):
            gateways.look(result, connected=False)

    gateways.tell(0)

    assert len(gateways.told) == MAX_WAITING
    assert gateways.told[-1] == "recovered"
