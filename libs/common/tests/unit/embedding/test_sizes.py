"""Estimates of tokens, and where a text is cut."""

import pytest

from quarry_common.embedding.sizes import fit
from quarry_common.embedding.tokenizer import LocalTokenizer, load_local_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> LocalTokenizer:
    return load_local_tokenizer()


def test_ordinary_words_count_as_the_local_tokenizer_counts_them(tokenizer: LocalTokenizer) -> None:
    (sized,) = fit(tokenizer, ["lift and drag of a wing"], 100)
    assert sized == ("lift and drag of a wing", 6)


def test_a_text_that_fits_exactly_is_not_cut(tokenizer: LocalTokenizer) -> None:
    text = "wing " * 50
    assert fit(tokenizer, [text], 50) == [(text, 50)]


def test_a_longer_text_is_cut_behind_its_last_word_that_fits(tokenizer: LocalTokenizer) -> None:
    assert fit(tokenizer, ["wing " * 51], 50) == [(("wing " * 50).strip(), 50)]


@pytest.mark.parametrize("text", ["QmFzZTY0" * 100, "ขอบคุณมากครับ" * 50, "😀" * 300])
def test_a_run_that_the_local_tokenizer_takes_for_one_word_counts_by_its_bytes(
    tokenizer: LocalTokenizer, text: str
) -> None:
    assert tokenizer.count_tokens([text]) == [1]
    (whole,) = fit(tokenizer, [text], 10_000)
    assert whole == (text, len(text.encode()) // 2)
    (cut,) = fit(tokenizer, [text], 30)
    assert text.startswith(cut.text)
    assert 56 <= len(cut.text.encode()) <= 60
    assert cut.tokens == 30


def test_an_empty_text_counts_one_token(tokenizer: LocalTokenizer) -> None:
    assert fit(tokenizer, [""], 10) == [("", 1)]


def test_no_more_than_a_bounded_part_is_looked_at(tokenizer: LocalTokenizer) -> None:
    (sized,) = fit(tokenizer, [" " * 10_000_000 + "wing"], 16)
    assert len(sized.text) == 512
