import base64
from uuid import UUID

import msgspec
import pytest

from quarry_common.contracts.filters import AnyOf, Field
from quarry_common.contracts.search import Query, SearchMode
from quarry_common.errors import ValidationError
from quarry_search.domain.cursor import MAX_DEPTH, after, begin, resume

QUERY = Query(tenant_id=UUID(int=1), query="pumps")


def next_page(query: Query, shown: int = 10) -> str:
    return after(begin(query, 200), shown)


def with_cursor(cursor: str, **changed: object) -> Query:
    return msgspec.structs.replace(QUERY, cursor=cursor, **changed)


def test_the_next_page_begins_where_the_last_ended() -> None:
    second = resume(with_cursor(next_page(QUERY)), 200)
    third = resume(with_cursor(after(second, 7)), 200)

    assert (second.offset, third.offset) == (10, 17)


def test_the_depth_follows_the_first_page_and_then_stays() -> None:
    wide = msgspec.structs.replace(QUERY, limit=100)

    assert begin(QUERY, 200).depth == 200
    assert begin(wide, 200).depth == MAX_DEPTH
    assert resume(with_cursor(next_page(wide), limit=5), 200).depth == MAX_DEPTH


def test_limit_and_highlight_may_change_between_pages() -> None:
    assert resume(with_cursor(next_page(QUERY), limit=3, highlight=True), 200).offset == 10


@pytest.mark.parametrize(
    "changed",
    [
        {"query": "valves"},
        {"tenant_id": UUID(int=2)},
        {"mode": SearchMode.KEYWORD},
        {"filters": AnyOf(Field.DOC_TYPE, ("pdf",))},
        {"group_by_document": True},
    ],
)
def test_a_cursor_of_another_query_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as raised:
        resume(with_cursor(next_page(QUERY), **changed), 200)

    (error,) = raised.value.data.errors
    assert error.field == "cursor"
    assert "belongs to another query" in error.message


def forged(depth: int, offset: int) -> str:
    fingerprint = begin(QUERY, 200).fingerprint
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([fingerprint, depth, offset])).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "%%%", "ünïcode", "AAAA", "a" * 5000, "\x00"),
        *(forged(0, 0), forged(10**6, 0), forged(200, -1), forged(200, 10**9), forged(2**63, 0)),
    ],
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError) as raised:
        resume(with_cursor(cursor), 200)

    assert raised.value.data.errors[0].message.startswith("is not a cursor")
