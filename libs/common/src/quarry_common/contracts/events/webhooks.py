"""How the endpoints of webhooks do."""

from datetime import UTC, datetime
from typing import ClassVar, Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from quarry_common.contracts.events.base import EventData, Moment, Way
from quarry_common.contracts.webhooks import DisabledReason


class _EndpointEvent(EventData, frozen=True):
    endpoint_id: UUID

    @property
    def subject_id(self) -> str:
        return str(self.endpoint_id)


class _TroubledEndpoint(_EndpointEvent, frozen=True):
    url: str
    """Without what may be secret in it, whoever made the event."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "url", shown_url(self.url))


class WebhookEndpointFailing(_TroubledEndpoint, frozen=True):
    """Nothing was delivered to an endpoint since `failing_since`: it is disabled at `disabled_at` if that
    goes on. `url` is without user, password, query and fragment."""

    type: ClassVar[str] = "webhook.endpoint_failing"
    failing_since: Moment
    disabled_at: Moment


class WebhookEndpointDisabled(_TroubledEndpoint, frozen=True):
    """An endpoint gets nothing any more: it said so (`gone`, `requested`), or it was `failing` for too long.
    `url` is without user, password, query and fragment."""

    type: ClassVar[str] = "webhook.endpoint_disabled"
    reason: DisabledReason
    failing_since: Moment | None


class WebhookTest(_EndpointEvent, frozen=True):
    """Somebody tries out an endpoint. It goes to this endpoint only."""

    type: ClassVar[str] = "webhook.test"
    ways: ClassVar[frozenset[Way]] = frozenset({Way.WEBHOOKS})
    message: str = "This is a test. Nothing has happened."


def shown_url(url: str) -> str:
    """Return `url` without user, password, query and fragment: these may be secret."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


_ENDPOINT: Final = UUID("01931c2e-75f7-7c21-9d4b-2e8f6a0c1b77")

EXAMPLES: Final = (
    WebhookEndpointDisabled(_ENDPOINT, "https://acme.example/hooks", DisabledReason.GONE, None),
    WebhookEndpointFailing(
        _ENDPOINT,
        "https://acme.example/hooks",
        datetime(2027, 1, 30, 9, 30, tzinfo=UTC),
        datetime(2027, 2, 4, 9, 30, tzinfo=UTC),
    ),
    WebhookTest(_ENDPOINT),
)
"""One of each type."""
