import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_search.domain.highlight import EXCERPT_CHARACTERS, MAX_EXCERPTS, excerpts, matches

FILLER = "Nothing of interest stands in this sentence. " * 20


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("running pumps", "A pump runs.", ["pump", "runs"]),
        ("the pump", "the pump of the plant", ["pump"]),
        ("ERR-1042", "It failed with ERR-1042 (again).", ["ERR-1042"]),
        ("error", "see last_error here", ["error"]),
        ("request", "class HttpRequestHandler:", ["HttpRequestHandler"]),
        ("Versicherungen", "Die Versicherung zahlt.", ["Versicherung"]),
        ("straße", "Die STRASSE ist lang.", ["STRASSE"]),
        ("東京", "私は東京都に住む。", ["東京"]),
        ("北京大学", "他在北京大学读书", ["北京大学"]),
        ("水", "火と水。", ["水"]),
        ("ภาษาไทย", "ฉันพูดภาษาไทยได้", ["ภาษาไทย"]),
        ("मकान", "वह मकान बड़ा है", ["मकान"]),
        ("office", "the oﬃce is open", ["oﬃce"]),
        ("2026", "In 2026 it was.", ["2026"]),
        ("cafe\u0301", "un café noir", ["café"]),
    ],
)
def test_a_word_is_marked_when_it_counts_for_keyword_search(query: str, text: str, marked: list[str]) -> None:
    (excerpt,) = excerpts(text, query)

    assert re.findall("<mark>(.*?)</mark>", excerpt) == marked
    assert html.unescape(re.sub("</?mark>", "", excerpt)) == text


def test_all_but_the_marks_is_escaped() -> None:
    (excerpt,) = excerpts('<script>alert("pump & co")</script>', "pump")

    assert excerpt == "&lt;script&gt;alert(&quot;<mark>pump</mark> &amp; co&quot;)&lt;/script&gt;"


def test_nothing_matched_gives_no_excerpt() -> None:
    assert excerpts("A pump runs.", "turbine") == []
    assert excerpts("", "turbine") == []
    assert excerpts("A pump runs.", "?!") == []


def test_a_long_text_is_cut_at_words_around_the_best_matches() -> None:
    text = f"{FILLER}pump. {FILLER}The pump and the turbine. {FILLER}pump. {FILLER}pump. {FILLER}"

    found = excerpts(text, "pump turbine")

    assert len(found) == MAX_EXCERPTS
    assert any("<mark>pump</mark> and the <mark>turbine</mark>" in excerpt for excerpt in found)
    for excerpt in found:
        plain = re.sub("</?mark>", "", excerpt).strip("…")
        assert len(plain) <= EXCERPT_CHARACTERS + 2
        assert f" {plain} " in f" {text} "


def test_an_excerpt_of_an_unspaced_script_is_cut_between_graphemes() -> None:
    text = "ที่นี่" * 200 + "น้ำมัน" + "ที่นี่" * 200

    (excerpt,) = excerpts(text, "น้ำมัน")[:1]

    assert "<mark>" in excerpt
    assert not re.match("…[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]", excerpt)


@given(st.text(), st.text(min_size=1))
def test_any_text_gives_ordered_matches_within_it_and_balanced_marks(text: str, query: str) -> None:
    from quarry_common.embedding.analyzer import analyze_query  # noqa: PLC0415

    found = matches(text, frozenset(analyze_query(query)))

    places = [place for match in found for place in (match.start, match.end)]
    assert places == sorted(places)
    assert all(match.start < match.end <= len(text) for match in found)
    for excerpt in excerpts(text, query):
        bare = excerpt.replace("<mark>", "").replace("</mark>", "")
        assert "<" not in bare
        assert excerpt.count("<mark>") == excerpt.count("</mark>") >= 1


@given(st.text(alphabet="ab .東京都ﬁไทย้é\u0301_-/A1", min_size=1))
def test_a_text_always_matches_itself(text: str) -> None:
    from quarry_common.embedding.analyzer import analyze_query  # noqa: PLC0415

    assert bool(excerpts(text, text)) == bool(analyze_query(text))
