import re

import pytest
from services.indexer.tests.growth import grows_with_length

from quarry_indexer.parsing.errors import DocumentTooLargeError
from quarry_indexer.parsing.markup import extract_html, html_to_markdown
from quarry_indexer.parsing.tags import MAX_DEPTH, well_formed

LIMIT = 64 * 1024 * 1024


def written(source: str) -> str:
    return "".join(well_formed(source))


def depth(source: str) -> int:
    open_elements = deepest = 0
    for closing in re.findall(r"<(/?)(?!br)[a-z]", source):
        open_elements += -1 if closing else 1
        deepest = max(deepest, open_elements)
    assert open_elements == 0
    return deepest


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("<p>a<p>b", "<p>a</p><p>b</p>"),
        ("<p>a<div>b</div>", "<p>a</p><div>b</div>"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        (
            "<table><tr><td>a<td>b<tr><th>c</table>",
            "<table><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></table>",
        ),
        ("<td><p>a<table><tr><td>b</table>c", "<td><p>a</p><table><tr><td>b</td></tr></table>c</td>"),
        ("<dl><dt>a<dd>b<dt>c</dl>", "<dl><dt>a</dt><dd>b</dd><dt>c</dt></dl>"),
        ("<b><i>a</b>b</i>", "<b><i>a</i></b>b"),
        ("</div>a</p>", "a"),
        ("<br>a<img src=x>", "<br>a<img src=x>"),
        ("<p/>a<a name='x'/>", "<p></p>a<a name='x'></a>"),
        ('<a title="1 > 0">a</a>', '<a title="1 > 0">a</a>'),
        ("a < b <3", "a &lt; b &lt;3"),
        ("a<!-- <p> -->b<?php x ?>c<!x>d", "abcd"),
        ("a<script>if (a<b) '<p>'</script>b<style>p{}</style>", "ab"),
        ("a<script>never closed", "a"),
        ("a<p title='never closed", "a"),
    ],
)  # fmt: skip
def test_ends_are_written_out(source: str, result: str) -> None:
    assert written(source) == result


@pytest.mark.parametrize("tag", ["div", "span", "ul><li", "blockquote", "table><tr><td", "b"])
def test_what_nests_too_deep_is_flattened(tag: str) -> None:
    closing = "".join(f"</{name}>" for name in reversed(tag.split("><")))
    source = f"<{tag}>" * 1000 + "deep" + closing * 1000 + "<p>after</p>"

    result = written(source)

    assert depth(result) == MAX_DEPTH
    assert result.endswith("<p>after</p>")
    assert "deep" in html_to_markdown(source, LIMIT)


def test_paragraphs_that_are_never_closed_all_come_through() -> None:
    text = extract_html("<html><body>" + "".join(f"<p>word{n}" for n in range(500)), LIMIT).text

    assert text.split() == [f"word{n}" for n in range(500)]


def test_a_long_page_is_cut_between_blocks_and_loses_nothing() -> None:
    rows = "".join(f"<tr><td>row{n}<td>{'x' * 90}" for n in range(40_000))

    pieces = list(well_formed(f"<div><table>{rows}</table></div>"))

    assert len(pieces) > 3
    assert all(piece.startswith("<div><table>") and piece.endswith("</table></div>") for piece in pieces)
    assert re.findall(r"row\d+", "".join(pieces)) == [f"row{n}" for n in range(40_000)]


def test_one_text_of_megabytes_is_cut_too() -> None:
    pieces = list(well_formed("<p>" + "x" * 5_000_000))

    assert max(map(len, pieces)) < 1_200_000
    assert "".join(re.sub("<[^>]*>", "", piece) for piece in pieces) == "x" * 5_000_000


def test_little_markup_that_would_be_much_text_is_refused() -> None:
    source = "<ul><li>" * 15 + "a<br>" * 20_000

    with pytest.raises(DocumentTooLargeError):
        html_to_markdown(source, len(source))


@pytest.mark.parametrize("unit", ['<a "', "<a '>", "<p ", "</p>", "<!--", "<script>", "<b></i>", '<a b=">">'])
def test_time_grows_with_length_not_faster(unit: str) -> None:
    assert grows_with_length(lambda repeats: written(unit * repeats), 10_000)
