from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common import cursors
from quarry_common.errors import ValidationError
from quarry_common.ids import new_id


@given(st.uuids())
def test_a_cursor_leads_back_to_its_place(identity: UUID) -> None:
    assert cursors.decode_id("jobs", cursors.encode("jobs", str(identity))) == identity


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(ValidationError):
        assert isinstance(cursors.decode_id("jobs", text), UUID)


def test_a_refused_cursor_names_its_field() -> None:
    with pytest.raises(ValidationError) as refused:
        cursors.decode_id("jobs", "not a cursor")

    assert refused.value.data.errors[0].field == "cursor"


@pytest.mark.parametrize("position", ["a\0b", "a\nb", "\ufdd0"])
def test_a_position_that_cannot_be_shown_is_refused(position: str) -> None:
    with pytest.raises(ValidationError):
        cursors.decode("collections", cursors.encode("collections", position))


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(ValidationError):
        cursors.decode("jobs", cursors.encode("documents", "a"))


def test_a_cursor_without_the_time_that_its_list_is_sorted_by_is_refused() -> None:
    made = new_id()
    assert cursors.decode_timed_id("searches", cursors.encode("searches", str(made))) == made
    assert cursors.decode_timed_id("searches", None) is None
    with pytest.raises(ValidationError):
        cursors.decode_timed_id("searches", cursors.encode("searches", str(uuid4())))
