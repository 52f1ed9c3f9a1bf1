"""How the installation's dependencies do, told to the installation."""

from datetime import UTC, datetime
from typing import ClassVar, Final

from quarry_common.contracts.events.base import NO_WEBHOOKS, EventData, Moment, Way


class _HealthEvent(EventData, frozen=True):
    check: str
    detail: str
    since: Moment

    @property
    def subject_id(self) -> str:
        return self.check


class HealthCheckFailed(_HealthEvent, frozen=True):
    """A dependency of the platform has not been well since `since`, for two checks in a row. `check` is as
    `GET /api/health` names it, `detail` what was wrong."""

    type: ClassVar[str] = "health.check_failed"
    ways: ClassVar[frozenset[Way]] = NO_WEBHOOKS  # the installation has none
    of_installation: ClassVar[bool] = True


class HealthRecovered(_HealthEvent, frozen=True):
    """A dependency of the platform is well again since `since`. `detail` is what was wrong before."""

    type: ClassVar[str] = "health.recovered"
    ways: ClassVar[frozenset[Way]] = NO_WEBHOOKS  # the installation has none
    of_installation: ClassVar[bool] = True


EXAMPLES: Final = (
    HealthCheckFailed("cache", "The cache does not answer.", datetime(2027, 1, 31, 9, 30, tzinfo=UTC)),
    HealthRecovered("cache", "The cache does not answer.", datetime(2027, 1, 31, 9, 34, tzinfo=UTC)),
)
"""One of each type."""
