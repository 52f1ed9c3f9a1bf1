import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarry_common.embedding.analyzer import MAX_TERM_CHARACTERS, analyze, analyze_query


def finds(query: str, document: str) -> bool:
    """Whether every term of the query is a term of the document."""
    terms = analyze_query(query)
    return bool(terms) and set(terms) <= set(analyze(document))


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("wings", "the wing of an aircraft"),
        ("Häuser", "Das Haus steht leer."),
        ("Muenchen", "Ein Brief aus München"),
        ("STRASSE", "die Straße entlang"),
        ("cafe", "Le café est fermé"),
        ("किताबें", "यह किताब पुरानी है"),
        ("книги", "новая книга на столе"),
        ("الكتاب", "هذا كتاب قديم"),
        ("ภาษา", "ผมเรียนภาษาไทยทุกวัน"),
        ("联赛", "在联赛中排名第六"),
        ("猫", "彼女の猫は眠っている"),
        ("サーバー", "新しいサーバーを起動する"),
        ("ｻｰﾊﾞｰ", "新しいサーバーを起動する"),
        ("문서", "이 문서를 읽으세요"),
        ("Wing's", "the wing"),
    ],
)
def test_a_word_is_found_in_another_form(query: str, document: str) -> None:
    assert finds(query, document)


@pytest.mark.parametrize(
    ("token", "part"),
    [
        ("snake_case_name", "case"),
        ("parseHttpRequest", "request"),
        ("XMLHttpRequest", "http"),
        ("ERR-1042", "1042"),
        ("v2.10.3", "v2"),
        ("anna.smith@example.com", "smith"),
        ("anna.smith@example.com", "example.com"),
        ("https://example.com/docs?page=1", "docs"),
        ("https://example.com/docs?page=1", "example.com"),
        (r"C:\Temp\report.pdf", "report.pdf"),
        ("state-of-the-art", "art"),
    ],
)
def test_an_identifier_is_found_whole_and_in_parts(token: str, part: str) -> None:
    document = f"Please see {token}, as agreed."
    assert finds(token, document)
    assert finds(part, document)


def test_the_whole_identifier_is_told_from_another_with_the_same_parts() -> None:
    assert not finds("ERR-1042", "ERR-7 was seen 1042 times")


def test_a_query_leaves_function_words_out() -> None:
    assert analyze_query("what is the lift of a wing") == analyze_query("lift wing")
    assert analyze_query("Wie viele Punkte gab die Verteidigung ab?")[0] == "viel"


def test_a_query_of_function_words_alone_keeps_them() -> None:
    assert analyze_query("to be or not to be") == ["to", "be", "or", "not"]


def test_function_words_in_capitals_are_names() -> None:
    assert "who" in analyze_query("guidelines of the WHO")
    assert "the" not in analyze_query("THE WING")


def test_a_hindi_word_is_not_torn_at_its_vowel_signs() -> None:
    assert analyze("डिफ़ेंस")[0].startswith("डिफ")
    assert len(analyze("डिफ़ेंस")) == 1


def test_a_long_string_becomes_no_long_term() -> None:
    assert max(map(len, analyze("x" * 100_000 + "." + "y" * 100_000))) == MAX_TERM_CHARACTERS


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_finds_itself(text: str) -> None:
    assert set(analyze_query(text)) <= set(analyze(text))
