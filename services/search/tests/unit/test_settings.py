import pytest

from quarry_common.settings import SettingsError, load
from quarry_search.settings import SearchSettings


@pytest.mark.parametrize(
    "url", ["host/rerank", "ftp://host/rerank", "https://", "https://key:hunter2@host/rerank"]
)
def test_an_address_that_no_reranker_can_have_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="RERANKER_URL: must be `http://HOST/PATH`") as caught:
        load(SearchSettings, {"RERANKER_URL": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8000/rerank", "https://host/v1/rerank?version=2"])
def test_an_address_of_a_reranker_is_taken_as_it_is(url: str) -> None:
    assert load(SearchSettings, {"RERANKER_URL": url}).reranker_url == url
