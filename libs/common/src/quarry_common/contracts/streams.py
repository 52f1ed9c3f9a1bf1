"""Streams and durable consumers. `quarry migrate` creates and updates them; a running service never does."""

from uuid import UUID

import msgspec

from quarry_common.contracts import subjects

DAY_SECONDS = 86_400
GIB = 1 << 30


class Stream(msgspec.Struct, frozen=True):
    """A JetStream stream. `work_queue` removes a message when it is acknowledged."""

    name: str
    subjects: tuple[str, ...]
    work_queue: bool = False
    max_age_seconds: int = 14 * DAY_SECONDS
    max_bytes: int = GIB
    max_message_bytes: int = 1 << 20


class Consumer(msgspec.Struct, frozen=True):
    """A durable pull consumer of one service."""

    stream: str
    name: str
    service: str
    filter_subject: str
    ack_wait_seconds: int = 30
    max_deliver: int = 10
    max_ack_pending: int = 1_000


COMMANDS = Stream("COMMANDS", ("cmd.v1.>",), work_queue=True, max_age_seconds=7 * DAY_SECONDS)
EVENTS = Stream("EVENTS", ("evt.v1.>",), max_bytes=4 * GIB)
SEARCHES = Stream("SEARCHES", ("log.v1.>",), max_age_seconds=3 * DAY_SECONDS, max_bytes=2 * GIB)
DEAD_LETTERS = Stream("DEAD_LETTERS", ("dlq.v1.>",), max_age_seconds=90 * DAY_SECONDS)

INDEXER_COMMANDS = Consumer("COMMANDS", "indexer-commands", "indexer", subjects.commands_of("indexer"))
WEBHOOKS_EVENTS = Consumer(
    "EVENTS", "webhooks-events", "webhooks", subjects.events(), ack_wait_seconds=10, max_ack_pending=2_000
)
ANALYTICS_SEARCHES = Consumer(
    SEARCHES.name, "analytics-searches", "analytics", "log.v1.>", max_ack_pending=2_000
)

STREAMS = (COMMANDS, EVENTS, SEARCHES, DEAD_LETTERS)
CONSUMERS = (INDEXER_COMMANDS, WEBHOOKS_EVENTS, ANALYTICS_SEARCHES)


def subjects_of_tenant(tenant_id: UUID) -> tuple[tuple[str, str], ...]:
    """Return streams, each with the filter that matches what it holds of a tenant."""
    return (
        (COMMANDS.name, f"cmd.v1.*.{tenant_id}.>"),
        (EVENTS.name, f"evt.v1.{tenant_id}.>"),
        (SEARCHES.name, f"log.v1.{tenant_id}.>"),
        (DEAD_LETTERS.name, f"dlq.v1.*.{tenant_id}.>"),
    )
