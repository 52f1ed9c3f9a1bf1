"""What is asked about searches, as it is sent."""

from datetime import UTC, datetime

import pytest

from quarry_client import calls
from quarry_client.calls import Call

END = datetime(2026, 11, 1, tzinfo=UTC)

ASKED = {
    "popular": (
        calls.popular_queries(5, days=7, mode="keyword"),
        {"limit": "5", "days": "7", "mode": "keyword"},
    ),
    "no-results": (calls.queries_without_results(collection="a"), {"limit": "10", "collection": "a"}),
    "low-confidence": (calls.queries_of_low_confidence(), {"limit": "10"}),
    "stats": (calls.search_stats(end=END), {"end": "2026-11-01T00:00:00+00:00"}),
    "timeseries": (
        calls.search_timeseries(tz="Europe/Berlin"),
        {"interval_hours": "24", "tz": "Europe/Berlin"},
    ),
    "trending": (calls.trending_queries(hours=6), {"hours": "6", "limit": "10"}),
    "users/a%2Fb": (calls.searches_of_user("a/b"), {"limit": "10"}),
    "export": (calls.export_searches("ndjson", days=1), {"format": "ndjson", "days": "1"}),
}


@pytest.mark.parametrize("place", ASKED)
def test_a_question_names_what_was_chosen(place: str) -> None:
    call: Call[object]
    call, params = ASKED[place]  # type: ignore[assignment]

    assert (call.method, call.path) == ("GET", f"/api/admin/analytics/{place}")
    assert call.params == params
    assert call.repeatable


def test_forgetting_may_be_repeated() -> None:
    call = calls.forget_user("anna")

    assert (call.method, call.path, call.repeatable) == ("DELETE", "/api/admin/analytics/users/anna", True)


def test_a_search_names_who_asks() -> None:
    assert b'"user_id":"anna"' in calls.search("x", user_id="anna").body  # type: ignore[operator]
    assert b"user_id" not in calls.search("x").body  # type: ignore[operator]
