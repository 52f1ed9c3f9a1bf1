import pytest

from quarry_common.errors import ValidationError
from quarry_search.domain.wording import MAX_PHRASES, holds, read


@pytest.mark.parametrize("text", [" ", "\t\n", "\x00\x07", "\u200b\u00a0\u3000", "\ufeff"])
def test_a_query_of_spaces_and_control_characters_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as raised:
        read(text)

    assert raised.value.data.errors[0].field == "query"


@pytest.mark.parametrize("text", ["a", " ? ", "水", "\x00x"])
def test_any_other_query_is_not(text: str) -> None:
    assert read(text).text == text


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("plain words", ()),
        ('"notice period" of flats', ("notice period",)),
        ('“Notice  Period” and "Straße"', ("notice period", "strasse")),
        ("„drei Monate“ oder «six mois»", ("drei monate", "six mois")),
        ('5" pipe', ()),
        ('"" empty', ()),
        ('"a" "a"', ("a",)),
    ],
)
def test_quotation_marks_make_phrases(text: str, phrases: tuple[str, ...]) -> None:
    assert read(text).phrases == phrases


def test_too_many_phrases_are_refused() -> None:
    with pytest.raises(ValidationError):
        read(" ".join(f'"{n}"' for n in range(MAX_PHRASES + 1)))


def test_case_and_white_space_are_no_difference_to_a_phrase() -> None:
    assert holds("The NOTICE\nperiod  ends", ("notice period",))
    assert not holds("The period of notice", ("notice period",))
