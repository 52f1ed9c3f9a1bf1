import pytest

from quarry_common.embedding.analyzer import analyze, analyze_query
from quarry_indexer.domain.passage import embedded_text, join_unspaced_lines, keyword_text


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("検索シス\nテムは正しい。", "検索システムは正しい。"),
        ("これは長い、\n  文です", "これは長い、文です"),
        ("似てい\n\u00a0\u3000 ると考え", "似ていると考え"),
        ("一段落目。\n\n二段落目。", "一段落目。\n\n二段落目。"),
        ("設定は\nDebian の", "設定は\nDebian の"),
        ("ภาษา\nไทย", "ภาษาไทย"),
        ("한국어는\n띄어쓴다", "한국어는\n띄어쓴다"),
        ("two\nlines", "two\nlines"),
        ("- 一\n- 二", "- 一\n- 二"),
    ],
)
def test_only_breaks_within_a_run_are_closed(text: str, joined: str) -> None:
    assert join_unspaced_lines(text) == joined


def test_a_sentence_that_spans_a_line_end_is_found_by_its_pairs() -> None:
    counted = set(analyze(keyword_text("", (), "この文書は検索シス\nテムの設\n定を説明する。")))

    assert set(analyze_query("検索システムの設定を説明する")) <= counted


def test_a_passage_stands_under_its_title_and_nearest_heading() -> None:
    assert embedded_text("Guide", ("Guide", "Install"), "Run it.") == "Guide\nInstall\nRun it."
    assert embedded_text("Guide", ("Guide",), "Run it.") == "Guide\nRun it."
