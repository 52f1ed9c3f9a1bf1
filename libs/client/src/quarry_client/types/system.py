"""How the installation is, and what went wrong."""

import msgspec

from quarry_client.errors import FieldError


class HealthCheck(msgspec.Struct, frozen=True):
    """How one dependency is."""

    status: str
    latency_ms: float | None = None


class Health(msgspec.Struct, frozen=True):
    """How the installation is: `healthy` or `degraded`, and each dependency."""

    status: str
    version: str = ""
    checks: dict[str, HealthCheck] = {}


class Version(msgspec.Struct, frozen=True):
    """Which release answers."""

    version: str


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem document as the API writes it."""

    code: str = ""
    title: str = ""
    status: int = 0
    detail: str = ""
    advice: str = ""
    errors: list[FieldError] = []
    request_id: str = ""
