import pytest

from quarry_webhooks.domain.filters import matches


@pytest.mark.parametrize(
    ("event_type", "filters"),
    [
        ("document.indexed", ["*"]),
        ("document.indexed", ["document.*"]),
        ("document.indexed", ["document.indexed"]),
        ("document.indexed", ["job.started", "document.indexed"]),
        ("webhook.endpoint_failing", ["webhook.*"]),
    ],
)
def test_wanted(event_type: str, filters: list[str]) -> None:
    assert matches(event_type, filters)


@pytest.mark.parametrize(
    ("event_type", "filters"),
    [
        ("document.indexed", []),
        ("document.indexed", ["document.deleted"]),
        ("document.indexed", ["documents.*"]),
        ("document.indexed", ["doc.*"]),
        ("documents.indexed", ["document.*"]),
        ("document.indexed", ["document"]),
    ],
)
def test_not_wanted(event_type: str, filters: list[str]) -> None:
    assert not matches(event_type, filters)


@pytest.mark.parametrize("event_type", ["job.progressed", "health.check_failed", "search.performed"])
def test_what_is_not_delivered_by_webhooks_is_wanted_by_none(event_type: str) -> None:
    assert not matches(event_type, ["*", event_type])
