"""Subjects on NATS. A tenant is a UUID in a subject, so that a tenant's slug may change."""

from uuid import UUID

from quarry_common.contracts.tenancy import PLATFORM_TENANT


def rpc(service: str, method: str) -> str:
    """Subject of a request to `service`."""
    return f"rpc.v1.{service}.{method}"


def command(service: str, tenant_id: UUID, verb: str) -> str:
    """Subject of a command: there is work for `service`."""
    return f"cmd.v1.{service}.{tenant_id}.{verb}"


def commands_of(service: str) -> str:
    """Filter that matches every command for `service`."""
    return f"cmd.v1.{service}.>"


def event(tenant_id: UUID | None, event_type: str) -> str:
    """Subject of an event; `event_type` is `<entity>.<verb>`, a missing tenant is the platform itself."""
    return f"evt.v1.{tenant_id or PLATFORM_TENANT}.{event_type}"


def events(entity: str = "*", verb: str = "*") -> str:
    """Filter that matches the events of every tenant."""
    return f"evt.v1.*.{entity}.{verb}"


def events_of(tenant_id: UUID) -> str:
    """Filter that matches all events of a tenant."""
    return event(tenant_id, "*.*")


def search_log(tenant_id: UUID) -> str:
    """Subject of what was searched."""
    return f"log.v1.{tenant_id}.search"


def interactions(tenant_id: UUID) -> str:
    """Subject of what users did with what was found."""
    return f"log.v1.{tenant_id}.interaction"


def dead_letter(service: str, tenant: str, consumer: str) -> str:
    """Subject of a message that `consumer` could not process."""
    return f"dlq.v1.{service}.{tenant}.{consumer}"


def event_type_of(subject: str) -> str:
    """Return the type of event, `<entity>.<verb>`, that is sent on an event's subject."""
    return ".".join(subject.split(".")[3:])


def tenant_of(subject: str) -> str:
    """Return the tenant's token of a command's, event's or search log's subject, or `-`."""
    parts = subject.split(".")
    position = {"cmd": 3, "evt": 2, "log": 2}.get(parts[0], len(parts))
    return parts[position] if position < len(parts) else "-"
