"""What becomes of API keys and signing keys."""

from datetime import UTC, datetime
from typing import ClassVar, Final
from uuid import UUID

from quarry_common.contracts.events.base import EventData, Moment


class _ApiKeyEvent(EventData, frozen=True):
    key_id: UUID
    name: str

    @property
    def subject_id(self) -> str:
        return str(self.key_id)


class ApiKeyCreated(_ApiKeyEvent, frozen=True):
    """There is a new key."""

    type: ClassVar[str] = "api_key.created"
    scopes: list[str]


class ApiKeyRotated(_ApiKeyEvent, frozen=True):
    """A key is replaced by `new_key_id`, and refused from `expires_at` on."""

    type: ClassVar[str] = "api_key.rotated"
    new_key_id: UUID
    expires_at: Moment


class ApiKeyRevoked(_ApiKeyEvent, frozen=True):
    """A key is refused from now on."""

    type: ClassVar[str] = "api_key.revoked"


class ApiKeyAnomalyDetected(_ApiKeyEvent, frozen=True):
    """A key is used as it was not before: `anomaly` is `dormant_key_used` or `denials_spiked`."""

    type: ClassVar[str] = "api_key.anomaly_detected"
    anomaly: str
    detail: str


class SigningKeyRevoked(EventData, frozen=True):
    """Tokens of a signing key are refused: those issued before a moment, or all."""

    type: ClassVar[str] = "signing_key.revoked"
    signing_key_id: UUID
    before: Moment | None

    @property
    def subject_id(self) -> str:  # noqa: D102
        return str(self.signing_key_id)


_KEY: Final = UUID("01931c2e-72c4-7b8e-a6d1-3f5c9e0a7b21")

EXAMPLES: Final = (
    ApiKeyCreated(_KEY, "website", ["search"]),
    ApiKeyRotated(
        _KEY,
        "website",
        UUID("01931c2e-7c00-7a11-b0b2-6d4e8f1a3c92"),
        datetime(2027, 1, 31, 9, 30, tzinfo=UTC),
    ),
    ApiKeyRevoked(_KEY, "website"),
    ApiKeyAnomalyDetected(_KEY, "website", "dormant_key_used", "Used after 64 days without a request."),
    SigningKeyRevoked(UUID("01931c2e-73d5-7e9f-8b2a-1c7d5e3f9a04"), datetime(2027, 1, 31, 9, 30, tzinfo=UTC)),
)
"""One of each type."""
