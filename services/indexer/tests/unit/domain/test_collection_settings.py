import msgspec
import pytest

from quarry_common.contracts.collections import CollectionSettings, Language, SettingsPatch
from quarry_common.errors import ValidationError
from quarry_indexer.domain.collection_settings import Limits, changed, check, patched

LIMITS = Limits(chunk_tokens=200, embedder_tokens=254)
SOME = CollectionSettings(language=Language.GERMAN, chunk_tokens=100, title_boost=2.0, stop_words=["bitte"])


def errors_of(settings: CollectionSettings) -> dict[str, str]:
    with pytest.raises(ValidationError) as refused:
        check(settings, LIMITS)
    return {error.field: error.message for error in refused.value.data.errors}


def test_what_a_patch_leaves_out_stays_and_null_goes_back_to_the_default() -> None:
    patch = msgspec.json.decode(
        b'{"language": null, "title_boost": null, "stop_words": null, "dense_weight": 0}', type=SettingsPatch
    )

    assert patched(SOME, patch) == CollectionSettings(chunk_tokens=100, dense_weight=0.0)
    assert patched(SOME, SettingsPatch()) == SOME


def test_a_list_takes_the_place_of_the_one_before() -> None:
    assert patched(SOME, SettingsPatch(stop_words=["danke"])).stop_words == ["danke"]


def test_only_what_differs_is_told_as_changed() -> None:
    assert changed(SOME, patched(SOME, SettingsPatch(chunk_tokens=100, title_boost=1.0))) == ["title_boost"]
    assert changed(SOME, SOME) == []


@pytest.mark.parametrize(
    "settings",
    [
        CollectionSettings(),
        CollectionSettings(chunk_tokens=254),
        CollectionSettings(chunk_overlap=99),
        CollectionSettings(chunk_tokens=33, chunk_overlap=16),
        CollectionSettings(synonyms=[["pc", "personal computer"], ["pc", "police constable"]]),
    ],
)
def test_settings_at_their_limits_are_taken(settings: CollectionSettings) -> None:
    check(settings, LIMITS)


def test_a_chunk_has_no_more_tokens_than_the_embedder_reads() -> None:
    assert errors_of(CollectionSettings(chunk_tokens=255)) == {
        "settings.chunk_tokens": "must be at most 254: the embedder reads no more"
    }


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        (CollectionSettings(chunk_overlap=100), 200),
        (CollectionSettings(chunk_tokens=32, chunk_overlap=16), 32),
    ],
)
def test_the_overlap_is_less_than_half_of_the_chunk_that_is_cut(
    settings: CollectionSettings, tokens: int
) -> None:
    (message,) = errors_of(settings).values()

    assert message == (
        f"is {settings.chunk_overlap} and must be less than half of chunk_tokens, which is {tokens}"
    )


def test_a_synonym_is_not_the_word_itself() -> None:
    assert set(errors_of(CollectionSettings(synonyms=[["a", "b"], ["An  apple", "an apple"]]))) == {
        "settings.synonyms[1]"
    }


def test_settings_are_bounded_as_a_whole_and_all_that_is_wrong_is_told_at_once() -> None:
    long = [f"{number:0>90}" for number in range(1000)]

    assert set(errors_of(CollectionSettings(chunk_tokens=300, stop_words=long))) == {
        "settings", "settings.chunk_tokens",
    }  # fmt: skip
