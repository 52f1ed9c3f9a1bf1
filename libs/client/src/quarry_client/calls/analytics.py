"""What was searched, found and clicked: of the last thirty days unless a range is given."""

from datetime import datetime
from typing import Final, TypedDict, Unpack
from urllib.parse import quote

from quarry_client import types
from quarry_client.calls.call import Call, get

_PLACE: Final = "/api/admin/analytics"


class SearchRange(TypedDict, total=False):
    """Which searches are meant."""

    days: int
    start: datetime
    end: datetime
    collection: str
    mode: types.Mode


def popular_queries(limit: int = 10, **chosen: Unpack[SearchRange]) -> Call[types.QueryList]:
    """List the queries that are searched most."""
    return get(f"{_PLACE}/popular", types.QueryList, limit=limit, **chosen)


def queries_without_results(limit: int = 10, **chosen: Unpack[SearchRange]) -> Call[types.QueryList]:
    """List the queries that most often find nothing."""
    return get(f"{_PLACE}/no-results", types.QueryList, limit=limit, **chosen)


def queries_of_low_confidence(limit: int = 10, **chosen: Unpack[SearchRange]) -> Call[types.QueryList]:
    """List the queries that most often find nothing good."""
    return get(f"{_PLACE}/low-confidence", types.QueryList, limit=limit, **chosen)


def search_stats(**chosen: Unpack[SearchRange]) -> Call[types.SearchStats]:
    """Read what all searches come to."""
    return get(f"{_PLACE}/stats", types.SearchStats, **chosen)


def search_timeseries(
    *, interval_hours: int = 24, tz: str = "UTC", **chosen: Unpack[SearchRange]
) -> Call[types.SearchTimeseries]:
    """Read the figures of every interval; days are those of the time zone."""
    return get(f"{_PLACE}/timeseries", types.SearchTimeseries, interval_hours=interval_hours, tz=tz, **chosen)


def trending_queries(
    *, hours: int = 24, limit: int = 10, collection: str | None = None, mode: types.Mode | None = None
) -> Call[types.Trends]:
    """List the queries that are searched more than was to be expected."""
    return get(f"{_PLACE}/trending", types.Trends, hours=hours, limit=limit, collection=collection, mode=mode)


def searches_of_user(
    user_id: str, limit: int = 10, **chosen: Unpack[SearchRange]
) -> Call[types.UserSearches]:
    """Read what one user searched."""
    return get(f"{_PLACE}/users/{quote(user_id, safe='')}", types.UserSearches, limit=limit, **chosen)


def forget_user(user_id: str) -> Call[types.ForgottenUser]:
    """Delete what is known of a user, for good."""
    path = f"{_PLACE}/users/{quote(user_id, safe='')}"
    return Call("DELETE", path, types.ForgottenUser, repeatable=True)


def export_searches(format_name: types.TableName = "csv", **chosen: Unpack[SearchRange]) -> Call[str]:
    """Read every recorded search as text: CSV with a header, or a line of JSON for each."""
    return get(f"{_PLACE}/export", str, format=format_name, **chosen)
