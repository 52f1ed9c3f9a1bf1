import base64
import os

import pytest

from quarry_common.settings import SettingsError, load
from quarry_webhooks.settings import WebhooksSettings

KEY = base64.b64encode(os.urandom(32)).decode()


def test_the_schedule_is_that_of_standard_webhooks_unless_set_otherwise() -> None:
    hour = 3_600.0
    usual = load(WebhooksSettings, {"WEBHOOK_ENCRYPTION_KEYS": KEY})
    quick = load(WebhooksSettings, {"WEBHOOK_ENCRYPTION_KEYS": KEY, "WEBHOOK_SCHEDULE_SECONDS": "0, 0.5,1"})

    assert usual.schedule_seconds == (
        0.0, 5.0, 300.0, 1_800.0, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour,
    )  # fmt: skip
    assert quick.schedule_seconds == (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WEBHOOK_ENCRYPTION_KEYS", "not-a-key"),
        ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1/8"),
        ("WEBHOOK_ALLOWED_NETWORKS", "localhost"),
        ("WEBHOOK_SCHEDULE_SECONDS", "0,later"),
        ("WEBHOOK_SCHEDULE_SECONDS", "0,-1"),
        ("WEBHOOK_SCHEDULE_SECONDS", "0,nan"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start_without_showing_keys(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(WebhooksSettings, {"WEBHOOK_ENCRYPTION_KEYS": KEY, variable: value})

    assert variable in caught.value.data.detail
    assert "not-a-key" not in caught.value.data.detail


def test_without_keys_it_does_not_start() -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_ENCRYPTION_KEYS"):
        load(WebhooksSettings, {})
