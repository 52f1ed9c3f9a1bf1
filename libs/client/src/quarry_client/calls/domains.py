"""Custom domains."""

from urllib.parse import quote

from quarry_client import types
from quarry_client.calls.call import Call, get, post


def add_domain(name: str, *, idempotency_key: str | None = None) -> Call[types.Domain]:
    """Claim a name; the answer tells the TXT record that proves it. A claim made before stays as it is."""
    return post("/api/domains", {"name": name}, types.Domain, idempotency_key=idempotency_key)


def check_domain(name: str, *, idempotency_key: str | None = None) -> Call[types.Domain]:
    """Have the record of a claim looked for now."""
    return post(f"{_path(name)}/check", None, types.Domain, idempotency_key=idempotency_key)


def list_domains() -> Call[types.Domains]:
    """List the tenant's domains by name."""
    return get("/api/domains", types.Domains)


def remove_domain(name: str) -> Call[types.Domain]:
    """Give a name up; the answer is the claim as it was."""
    return Call("DELETE", _path(name), types.Domain, repeatable=True)


def _path(name: str) -> str:
    return f"/api/domains/{quote(name, safe='')}"
