"""How commands show API keys."""

from collections.abc import Iterable
from datetime import UTC, datetime

from quarry_client.cli.output import print_fields, print_json, print_table, show_secret, whole
from quarry_client.types import ApiKey, CreatedKey


def show_created(created: CreatedKey, remark: str, *, as_json: bool) -> None:
    """Print a new key alone on the output, and `remark` beside it."""
    if as_json:
        print_json(created)
        return
    show_secret(created.key, created.api_key.id, remark)


def show_keys(keys: Iterable[ApiKey]) -> None:
    """Print keys as a table."""
    rows = ((k.id, k.name, k.prefix, _some(k.scopes), _state(k), _day(k.last_used_at)) for k in keys)
    columns = (whole("id"), "name", whole("prefix"), "scopes", "state", whole("last used"))
    print_table(columns, rows, empty="There are no keys.")


def show_key(key: ApiKey) -> None:
    """Print all that is known of a key."""
    print_fields(
        [
            ("id", key.id),
            ("name", key.name),
            ("prefix", key.prefix),
            ("label", key.label),
            ("state", _state(key)),
            ("scopes", key.scopes),
            ("collections", "all" if key.collections is None else key.collections),
            ("networks", key.networks or "all"),
            ("principals", key.principals),
            ("requests per second", key.requests_per_second or "the tenant's"),
            ("created", key.created_at),
            ("last used", key.last_used_at),
            *([("expires", key.expires_at)] if key.expires_at else []),
            *([("revoked", key.revoked_at)] if key.revoked_at else []),
            *([("takes the place of", key.rotated_from)] if key.rotated_from else []),
            *((f"metadata {name}", value) for name, value in key.metadata.items()),
        ]
    )


def _some(scopes: list[str]) -> str:
    return ", ".join(scopes) if len(scopes) < 3 else f"{scopes[0]} and {len(scopes) - 1} more"


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "active"
    return "expired" if key.expires_at <= datetime.now(UTC) else f"until {_day(key.expires_at)}"


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"
