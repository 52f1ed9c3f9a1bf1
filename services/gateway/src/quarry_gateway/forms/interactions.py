"""What users did with answers, as applications and browsers tell it in the form of UBI 1.3."""

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NoReturn
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta

from quarry_common.contracts.events.searches import Interacted
from quarry_common.contracts.search import UserId
from quarry_common.errors import FieldError, ValidationError
from quarry_common.ids import NAMESPACE, time_of
from quarry_gateway.access.event_tokens import EventTokens

MAX_TOGETHER: Final = 100
MAX_AHEAD: Final = timedelta(minutes=5)
LONGEST: Final = timedelta(days=30)
"""After a search it is too late to tell what became of it."""


class UbiObject(msgspec.Struct, frozen=True):
    """What was acted on."""

    object_id: Annotated[str, Meta(max_length=100, description="`document_id` of the result.")]
    object_id_field: Annotated[str, Meta(max_length=100)] | None = None


class UbiAttributes(msgspec.Struct, frozen=True):
    """What the event is about. A `position` is not asked for: places are those of the answer."""

    object: UbiObject | None = None
    value: Annotated[
        float | None, Meta(description="Of feedback: -1 bad, 1 good; of a purchase its worth.")
    ] = None


class UbiEvent(msgspec.Struct, frozen=True):
    """Something that a user did. Members of UBI that are not named here may be there, and are left out."""

    action_name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]{0,49}$(?!\n)",
            examples=["click"],
            description="Engagement is measured by `click`.",
        ),
    ]
    query_id: UUID
    event_attributes: UbiAttributes = UbiAttributes()
    timestamp: Annotated[datetime | None, Meta(description="When it happened; now by default.")] = None
    user_id: UserId | None = None
    client_id: UserId | None = None
    session_id: UserId | None = None
    event_id: Annotated[
        UUID | None,
        Meta(description="Makes the event count once; without one, events that are the same in all are one."),
    ] = None
    event_token: Annotated[
        str, Meta(max_length=200, description="`event_token` of the answer; needed without an API key.")
    ] = ""


def accepted(
    event: UbiEvent, tenant_id: UUID | None, tokens: EventTokens, now: datetime
) -> tuple[UUID, Interacted]:
    """Return whose event it is, and the event as it is recorded; without a tenant its token tells.

    Raises `UnauthenticatedError` for a wrong token, `ValidationError` for an event that cannot be.
    """
    if tenant_id is None:
        token = tokens.verify(event.event_token, now)
        tenant_id = token.tenant_id
        if token.query_id != event.query_id:
            _refuse("event_token", "is that of another answer")
    try:
        searched_at = time_of(event.query_id)
    except ValueError:
        _refuse("query_id", "is not the id of an answer")
    happened = event.timestamp or now
    if happened.tzinfo is None:
        _refuse("timestamp", "must have a time zone")
    if happened > now + MAX_AHEAD:
        _refuse("timestamp", "is in the future")
    if happened < searched_at - MAX_AHEAD or happened - searched_at > LONGEST:
        _refuse("timestamp", f"must be within {LONGEST.days} days after the search")
    value = event.event_attributes.value
    if value is not None and not math.isfinite(value):
        _refuse("event_attributes.value", "must be a finite number")
    return tenant_id, Interacted(
        event_id=event.event_id or _id_of(event),
        query_id=event.query_id,
        occurred_at=happened.astimezone(UTC),
        action=event.action_name,
        document_id=_document(event.event_attributes.object),
        value=value,
        user_id=event.user_id,
        client_id=event.client_id,
        session_id=event.session_id,
    )


def _document(named: UbiObject | None) -> UUID | None:
    if named is None:
        return None
    try:
        return UUID(named.object_id)
    except ValueError:
        _refuse("event_attributes.object.object_id", "must be the `document_id` of a result")


def _id_of(event: UbiEvent) -> UUID:
    same = msgspec.structs.replace(event, event_token="")
    return uuid5(NAMESPACE, f"interaction\0{msgspec.json.encode(same, order='deterministic').decode()}")


def _refuse(field: str, message: str) -> NoReturn:
    raise ValidationError("The event cannot be recorded.", errors=[FieldError(field, message)])
