"""The types of events that webhooks can ask for: what each means, its data's schema, and an example."""

import msgspec

from quarry_common.contracts import events
from quarry_common.contracts.events import EventType, Way


class EventCatalogue(msgspec.Struct, frozen=True):
    """Every type of event that is delivered to webhooks, by name."""

    event_types: list[EventType]


def catalogue() -> EventCatalogue:
    """Return the types of events, by name."""
    found = [each for each in events.catalogue() if Way.WEBHOOKS in each.ways]
    return EventCatalogue(sorted(found, key=lambda each: each.type))
