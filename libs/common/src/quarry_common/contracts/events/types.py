"""Every type of event."""

from typing import Final

from quarry_common.contracts.events import (
    collections,
    documents,
    health,
    jobs,
    keys,
    quotas,
    searches,
    tenants,
    webhooks,
)
from quarry_common.contracts.events.base import EventData, Way

EXAMPLES: Final[tuple[EventData, ...]] = (
    *documents.EXAMPLES,
    *jobs.EXAMPLES,
    *collections.EXAMPLES,
    *tenants.EXAMPLES,
    *keys.EXAMPLES,
    *quotas.EXAMPLES,
    *webhooks.EXAMPLES,
    *health.EXAMPLES,
    *searches.EXAMPLES,
)
"""One event of each type: there is no type without an example."""

EVENT_TYPES: Final[dict[str, type[EventData]]] = {example.type: type(example) for example in EXAMPLES}
"""Every type of event, by its name."""

WEBHOOK_TYPES: Final = frozenset(name for name, kind in EVENT_TYPES.items() if Way.WEBHOOKS in kind.ways)
"""Those that are delivered to webhooks."""
