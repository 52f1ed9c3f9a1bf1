"""What tenants use, by day (UTC): the last thirty days unless others are given."""

from datetime import date

from quarry_client import types
from quarry_client.calls.call import Call, get


def usage(*, first: date | None = None, last: date | None = None) -> Call[types.Usage]:
    """Read what the tenant used on each day from `first` to `last`."""
    return get("/api/usage", types.Usage, first=first, last=last)


def export_usage(
    format_name: types.UsageFormatName = "csv", *, first: date | None = None, last: date | None = None
) -> Call[str]:
    """Read what the tenant used as text: CSV with a header, or a line of JSON for each day."""
    return get("/api/usage", str, format=format_name, first=first, last=last)


def export_all_usage(
    format_name: types.UsageFormatName = "csv", *, first: date | None = None, last: date | None = None
) -> Call[str]:
    """Read what every tenant used as text, tenant by tenant; asks for the operator's key."""
    return get("/api/admin/usage", str, format=format_name, first=first, last=last)
