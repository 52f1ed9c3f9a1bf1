from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common import cursors
from quarry_common.errors import ValidationError


@given(st.uuids())
def test_a_cursor_leads_back_to_its_place(identity: UUID) -> None:
    assert cursors.decode_id(cursors.encode(str(identity))) == identity


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with suppress(ValidationError):
        assert isinstance(cursors.decode_id(text), UUID)


def test_a_refused_cursor_names_its_field() -> None:
    with pytest.raises(ValidationError) as refused:
        cursors.decode_id("not a cursor")

    assert refused.value.data.errors[0].field == "cursor"
