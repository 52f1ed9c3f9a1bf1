"""Searching as one types: what was typed on the way to a query is no query of its own."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from uuid import UUID

import msgspec

WINDOW: Final = timedelta(seconds=3)
"""That one client takes from one keystroke's search to the next at most."""


class Typed(msgspec.Struct, frozen=True):
    """A search of a client that can be told from others."""

    query_id: UUID
    occurred_at: datetime
    client: str
    normal: str


def collapsed(typed: Iterable[Typed]) -> set[UUID]:
    """Return the searches whose next one by the same client begins with the same text, goes on, and
    follows within three seconds. The result does not depend on the order in which they are given."""
    by_client: dict[str, list[Typed]] = defaultdict(list)
    for each in typed:
        by_client[each.client].append(each)
    found = set()
    for searches in by_client.values():
        searches.sort(key=lambda each: (each.occurred_at, each.query_id))
        for one, following in pairwise(searches):
            if (
                following.occurred_at - one.occurred_at <= WINDOW
                and len(following.normal) > len(one.normal)
                and following.normal.startswith(one.normal)
            ):
                found.add(one.query_id)
    return found
