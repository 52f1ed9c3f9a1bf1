"""What answers `rpc.v1.webhooks.*`."""

from typing import Final

SERVICE: Final = "webhooks"
MAX_LIMIT: Final = 100


def bounded(limit: int) -> int:
    """Return how many entries a page may have."""
    return max(1, min(limit, MAX_LIMIT))
