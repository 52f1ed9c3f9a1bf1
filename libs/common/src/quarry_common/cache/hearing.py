"""What heartbeats tell of the path on which events come: whether it is whole, and how long it takes."""

from quarry_common.messaging.heartbeat import Beat

SILENCE_SECONDS = 0.75
"""Three heartbeats. With the delay allowed it is the second after which no old answer is given."""
MAX_DELAY_SECONDS = 0.25
MAX_LAG_MS = 500.0
PROBATION_SECONDS = 2.0
"""For which a publisher has been the only one before it is believed, and for which content may still follow
a deletion told of before it was heard first."""
CLOCK_DRIFT = 0.001
"""By which two clocks may differ per second: ten times what is usual."""


class Hearing:
    """Judges the heartbeats of one service. Times are seconds of this process's monotonic clock.

    How long a heartbeat was on its way is known without clocks that agree: one that took longer than others
    shows a greater difference between the two clocks, and the least seen is that of the fastest.
    """

    def __init__(self) -> None:
        self._publisher = ""
        self._sequence = 0
        self._whole = False
        self._heard_at = self._since = float("-inf")
        self._measured_at = 0.0
        self._least_difference = 0.0
        self._delay = 0.0
        self._lag_ms = 0.0

    def hear(self, beat: Beat, now: float) -> bool:
        """Take note of a heartbeat; return whether an event could have been lost since the one before."""
        same = beat.publisher == self._publisher
        whole = self._whole and same and beat.sequence == self._sequence + 1
        difference = now - beat.sent_at
        drifted = self._least_difference + CLOCK_DRIFT * (now - self._measured_at)
        self._least_difference = min(difference, drifted) if same else difference
        self._delay = difference - self._least_difference
        self._publisher, self._sequence, self._lag_ms = beat.publisher, beat.sequence, beat.lag_ms
        self._heard_at = self._measured_at = now
        lost = self._whole and not whole
        if not whole:
            self._whole, self._since = True, now
        return lost

    def lose(self) -> None:
        """Events were lost for another reason: whatever comes next is not the continuation."""
        self._whole = False
        self._heard_at = float("-inf")

    @property
    def since(self) -> float:
        """Time from which on no event was lost, as long as heartbeats come in time."""
        return self._since

    def in_time(self, now: float) -> bool:
        """Whether everything published more than a second ago has been heard."""
        return now - self._heard_at <= SILENCE_SECONDS and self._delay <= MAX_DELAY_SECONDS

    def trusted(self, now: float) -> bool:
        """Whether, besides, next to nothing waits to be published and the publisher is past its probation."""
        return self.in_time(now) and self._lag_ms <= MAX_LAG_MS and now - self._since >= PROBATION_SECONDS
