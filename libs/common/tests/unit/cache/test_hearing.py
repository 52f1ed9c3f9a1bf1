"""What heartbeats tell: silence, delay, loss, and whom to believe."""

from quarry_common.cache.hearing import (
    MAX_DELAY_SECONDS,
    MAX_LAG_MS,
    PROBATION_SECONDS,
    SILENCE_SECONDS,
    Hearing,
)
from quarry_common.messaging.heartbeat import INTERVAL_SECONDS, Beat

AHEAD_SECONDS = 4_000.0
"""The publisher's clock has nothing to do with ours."""


class Path:
    """A publisher and the way that its heartbeats take."""

    def __init__(self) -> None:
        self.hearing = Hearing()
        self.now = 1_000.0
        self.publisher = "one"
        self.sequence = 0

    def beat(self, *, delay: float = 0.001, lag_ms: float = 0.0) -> bool:
        self.now += INTERVAL_SECONDS
        self.sequence += 1
        sent_at = self.now - delay + AHEAD_SECONDS
        return self.hearing.hear(Beat(self.publisher, self.sequence, sent_at, lag_ms), self.now)

    def believed(self) -> "Path":
        for _ in range(int(PROBATION_SECONDS / INTERVAL_SECONDS) + 1):
            self.beat()
        assert self.trusted
        return self

    @property
    def trusted(self) -> bool:
        return self.hearing.trusted(self.now)


def test_nothing_is_trusted_before_it_is_heard_for_a_while() -> None:
    path = Path()
    assert not path.trusted
    heard = []
    while not path.trusted:
        path.beat()
        heard.append(path.now)
    assert heard[-1] - heard[0] >= PROBATION_SECONDS


def test_silence_ends_trust_within_the_second() -> None:
    path = Path().believed()
    path.now += SILENCE_SECONDS
    assert path.trusted
    path.now += 0.001
    assert not path.trusted
    assert SILENCE_SECONDS + MAX_DELAY_SECONDS <= 1.0


def test_trust_comes_back_with_the_next_heartbeat_when_none_is_missing() -> None:
    path = Path().believed()
    path.now += 5
    assert not path.beat()
    assert path.trusted


def test_a_missing_heartbeat_is_a_loss() -> None:
    path = Path().believed()
    path.sequence += 1
    assert path.beat()
    assert not path.trusted


def test_another_publisher_is_a_loss() -> None:
    path = Path().believed()
    path.publisher = "two"
    assert path.beat()
    assert not path.trusted


def test_of_two_publishers_at_once_neither_is_believed() -> None:
    path = Path().believed()
    for _ in range(20):
        for path.publisher in ("two", "one"):
            assert path.beat()
            assert not path.trusted


def test_a_delay_that_grows_is_noticed_without_a_common_clock() -> None:
    path = Path().believed()
    delay = 0.0
    while path.trusted:
        delay += 0.02
        path.beat(delay=delay)
    assert delay <= MAX_DELAY_SECONDS + 0.1

    for _ in range(100):
        path.beat(delay=2.0)
        assert not path.trusted
    path.beat()
    assert path.trusted


def test_clocks_that_drift_are_no_delay() -> None:
    path = Path().believed()
    drift = 0.0
    for _ in range(20_000):
        drift += INTERVAL_SECONDS * 0.0005
        path.beat(delay=drift)
        assert path.trusted


def test_a_backlog_at_the_publisher_ends_trust_and_is_no_loss() -> None:
    path = Path().believed()
    assert not path.beat(lag_ms=MAX_LAG_MS + 1)
    assert not path.trusted
    assert path.hearing.in_time(path.now)
    path.beat(lag_ms=MAX_LAG_MS)
    assert path.trusted


def test_after_a_loss_from_elsewhere_trust_has_to_grow_again() -> None:
    path = Path().believed()
    path.hearing.lose()
    assert not path.trusted
    assert not path.hearing.in_time(path.now)

    assert not path.beat()
    assert path.hearing.in_time(path.now)
    assert not path.trusted
    path.believed()
