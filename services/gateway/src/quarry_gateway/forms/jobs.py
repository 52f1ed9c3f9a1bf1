"""Which jobs a request is about: by their ids, or by what they have in common."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.jobs import MAX_CHOSEN, JobFilter
from quarry_common.errors import FieldError
from quarry_gateway.domain import Caller
from quarry_gateway.forms.validation import refuse

Moment = Annotated[datetime, Meta(tz=True)]
Code = Annotated[
    str,
    Meta(min_length=1, max_length=100, description="Code of the error that the job ended with."),
]


class JobChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The jobs to which everything given applies; something must be given."""

    job_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_CHOSEN)] | None = None
    document_id: UUID | None = None
    collection: CollectionName | None = None
    code: Code | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class DeadLetterChoice(JobChoice, frozen=True, forbid_unknown_fields=True):
    """The same among the dead letters, or with `all` every one of them."""

    all: bool = False


def chosen(choice: JobChoice, caller: Caller) -> JobFilter:
    """Return the filter that `choice` stands for, within the reach of `caller`.

    Raises `ValidationError` when it says nothing, for that would be all, and when it says all and more.
    """
    found = _named(choice)
    everything = isinstance(choice, DeadLetterChoice) and choice.all
    if everything and found != JobFilter():
        refuse([FieldError("all", "must be left out when anything else is given")])
    if not everything and found == JobFilter():
        names = ", ".join(choice.__struct_fields__)
        refuse([FieldError(choice.__struct_fields__[0], f"is missing; give at least one of {names}")])
    return _within(found, caller)


def filter_of(source: msgspec.Struct, caller: Caller) -> JobFilter:
    """Return the filter of the members that `source` has in common with it, within the reach of `caller`."""
    return _within(_named(source), caller)


def _within(found: JobFilter, caller: Caller) -> JobFilter:
    return msgspec.structs.replace(found, collection=caller.chosen_collection(found.collection))


def _named(source: msgspec.Struct) -> JobFilter:
    names = (field.name for field in msgspec.structs.fields(JobFilter))
    return JobFilter(**{name: getattr(source, name, None) for name in names})
