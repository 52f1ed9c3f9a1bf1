import pytest

from quarry_common.contracts.events import EVENT_TYPES, Way
from quarry_common.contracts.events.filters import filters_for, matches


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
    assert matches(event_type, filters, Way.SSE)


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
    assert not matches(event_type, filters, Way.SSE)


@pytest.mark.parametrize("event_type", ["job.progressed", "health.check_failed", "search.performed"])
def test_what_is_not_delivered_by_webhooks_is_wanted_by_none(event_type: str) -> None:
    assert not matches(event_type, ["*", event_type], Way.WEBHOOKS)


def test_a_type_of_a_newer_release_goes_every_way() -> None:
    assert all(matches("document.translated", ["document.*"], way) for way in Way)


@pytest.mark.parametrize("installation", [True, False])
@pytest.mark.parametrize("way", list(Way))
def test_there_is_a_filter_for_each_event_and_no_other(way: Way, installation: bool) -> None:
    reached = {
        name
        for name, kind in EVENT_TYPES.items()
        if way in kind.ways and (installation or not kind.of_installation)
    }
    filters = filters_for(way, installation=installation)

    assert filters - {"*"} - {f"{name.partition('.')[0]}.*" for name in reached} == reached
    assert all(any(matches(name, [each], way) for name in reached) for each in filters)
