"""Reads a long list page by page."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

PAGE_SIZE: Final = 100


def take(limit: int, fetch: Callable[[int, str | None], tuple[list[T], str | None]]) -> Iterator[T]:
    """Yield up to `limit` items; `fetch` turns a page size and a cursor into items and the next cursor."""
    cursor: str | None = None
    while limit > 0:
        items, cursor = fetch(min(limit, PAGE_SIZE), cursor)
        yield from items[:limit]
        limit -= len(items)
        if cursor is None or not items:
            return
