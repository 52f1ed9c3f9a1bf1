"""The filter language where it comes in a query string or in a body."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from quarry_common.contracts import filters
from quarry_common.contracts.filters import Filter
from quarry_common.errors import FieldError, ValidationError
from quarry_gateway.forms.validation import Rules, refuse, wrong_text

FilterText = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=8000,
        description="A filter as for a search, as JSON.",
        examples=['{"tags": {"any": ["legal"]}}'],
    ),
]


def parse_text(text: str | None, field: str = "filter") -> Filter | None:
    """Return the filter that `text` is as JSON, or None when there is none. Raises `ValidationError`."""
    if text is None:
        return None
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        refuse([FieldError(field, 'must be JSON, such as {"tags": {"any": ["legal"]}}')])
        raise
    refuse(list(wrong_text({field: raw})))
    tree = filters.parse(raw, field)
    return tree if raw else None


def wrong_filter(field: str) -> Rules:
    """Return the rule that the member `field` of a body, when it is an object, is a filter."""

    def wrong(raw: Mapping[str, object]) -> Iterable[FieldError]:
        found = raw.get(field)
        if isinstance(found, dict):
            try:
                filters.parse(found, field)
            except ValidationError as error:
                return error.data.errors
        return ()

    return wrong
