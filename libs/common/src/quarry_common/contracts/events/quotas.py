"""How far quotas are used."""

from typing import ClassVar, Final

from quarry_common.contracts.events.base import EventData
from quarry_common.contracts.usage import Quota


class _QuotaEvent(EventData, frozen=True):
    quota: Quota
    limit: int
    used: int

    @property
    def subject_id(self) -> str:
        return self.quota.value


class QuotaThresholdReached(_QuotaEvent, frozen=True):
    """A tenant has used `percent` of a quota. `storage_mb` is counted in bytes."""

    type: ClassVar[str] = "quota.threshold_reached"
    percent: int


class QuotaExceeded(_QuotaEvent, frozen=True):
    """A tenant has used up a quota: what would need more of it is refused."""

    type: ClassVar[str] = "quota.exceeded"


EXAMPLES: Final = (
    QuotaThresholdReached(Quota.DOCUMENTS, 10_000, 8_000, 80),
    QuotaExceeded(Quota.DOCUMENTS, 10_000, 10_000),
)
"""One of each type."""
