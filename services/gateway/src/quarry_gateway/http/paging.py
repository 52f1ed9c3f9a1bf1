"""Pages of a list."""

from typing import Annotated

import msgspec
from msgspec import Meta

Limit = Annotated[int, Meta(ge=1, le=100, description="How many to answer at most.")]
Cursor = Annotated[
    str,
    Meta(min_length=1, max_length=1000, description="Where to go on: `next_cursor` of the page before."),
]


class PageQuery(msgspec.Struct, frozen=True):
    """Which page to answer."""

    limit: Limit = 50
    cursor: Cursor | None = None
