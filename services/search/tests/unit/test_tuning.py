import pytest

from quarry_common.contracts.collections import AllSettings, CollectionSettings, Language
from quarry_common.contracts.filters import And, AnyOf, Field, Filter, Or
from quarry_common.embedding.analyzer import analyze_query
from quarry_search.domain.tuning import MAX_TERMS, PLATFORM, SYNONYM_WEIGHT, Tuning, Tunings


def tuned(**settings: object) -> Tuning:
    return Tunings(AllSettings({"default": CollectionSettings(**settings)})).of(None)  # type: ignore[arg-type]


def within(*names: str) -> Filter:
    return AnyOf(Field.COLLECTION, names)


def added(tuning: Tuning, query: str) -> dict[str, float]:
    written = analyze_query(query)
    return {term: weight for term, weight in tuning.terms(query).items() if term not in written}


def terms(*words: str) -> list[str]:
    return [term for word in words for term in analyze_query(word)]


class TestTerms:
    def test_are_those_of_the_query_when_nothing_is_set(self) -> None:
        assert PLATFORM.terms("the notice period") == dict.fromkeys(terms("notice", "period"), 1.0)

    def test_stop_words_are_left_out_unless_there_is_nothing_else(self) -> None:
        tuning = tuned(stop_words=["Product "])

        assert list(tuning.terms("product PRODUCT manual")) == terms("manual")
        assert list(tuning.terms("product")) == terms("product")

    def test_what_means_the_same_is_looked_for_with_less_weight(self) -> None:
        tuning = tuned(synonyms=[["notebook", "laptop", "portable"]])

        assert added(tuning, "my Laptops") == dict.fromkeys(terms("notebook", "portable"), SYNONYM_WEIGHT)
        assert added(tuning, "my tower") == {}

    def test_a_phrase_is_found_as_a_whole_and_shares_its_weight(self) -> None:
        tuning = tuned(synonyms=[["PC", "personal computer"]])

        assert added(tuning, "a pc") == dict.fromkeys(terms("personal", "computer"), SYNONYM_WEIGHT / 2)
        assert added(tuning, "one personal computer") == dict.fromkeys(terms("pc"), SYNONYM_WEIGHT)
        assert added(tuning, "a computer that is personal") == {}

    def test_scripts_without_spaces_are_searched_for_the_phrase(self) -> None:
        tuning = tuned(synonyms=[["电脑", "计算机"]])

        assert added(tuning, "我的电脑坏了") == dict.fromkeys(terms("计算机"), SYNONYM_WEIGHT / 2)
        assert added(tuning, "我的书") == {}

    def test_a_word_of_the_query_keeps_its_weight(self) -> None:
        tuning = tuned(synonyms=[["notebook", "laptop"]])

        assert set(tuning.terms("notebook laptop").values()) == {1.0}

    def test_their_number_is_bounded(self) -> None:
        groups = [[f"w{n}", *(f"w{n}x{m}" for m in range(19))] for n in range(30)]

        found = added(tuned(synonyms=groups), " ".join(f"w{n}" for n in range(30)))

        assert len(found) == MAX_TERMS


class TestCollections:
    SETTINGS = AllSettings(
        {
            "a": CollectionSettings(
                stop_words=["x", "y"], synonyms=[["p", "q"]], language=Language.GERMAN, dense_weight=0.2
            ),
            "b": CollectionSettings(
                stop_words=["y", "z"], synonyms=[["r", "s"]], language=Language.GERMAN, dense_weight=0.4
            ),
        },
        others=True,
    )

    def test_one_collection_is_searched_by_its_own_settings(self) -> None:
        tuning = Tunings(self.SETTINGS).of(And((AnyOf(Field.TAGS, ("t",)), within("a"))))

        assert (tuning.stop_words, tuning.language, tuning.dense_weight) == ({"x", "y"}, "de", 0.2)

    def test_several_are_searched_by_what_they_agree_on_and_all_synonyms(self) -> None:
        tuning = Tunings(self.SETTINGS).of(within("a", "b"))

        assert (tuning.stop_words, tuning.language, tuning.dense_weight) == ({"y"}, "de", None)
        assert set(added(tuning, "p r")) == set(terms("q", "s"))

    @pytest.mark.parametrize("filters", [None, Or((within("a"), within("b"))), within("a", "b", "c")])
    def test_one_without_settings_among_them_has_the_platforms_words(self, filters: Filter | None) -> None:
        tuning = Tunings(self.SETTINGS).of(filters)

        assert (tuning.stop_words, tuning.language, tuning.dense_weight) == (frozenset(), None, None)

    def test_two_conditions_leave_what_both_name(self) -> None:
        tuning = Tunings(self.SETTINGS).of(And((within("a", "b"), within("b", "c"))))

        assert tuning.stop_words == {"y", "z"}

    def test_everything_of_a_tenant_with_one_collection_is_that_collection(self) -> None:
        alone = AllSettings({"a": self.SETTINGS.settings["a"]}, others=False)

        assert Tunings(alone).of(None).dense_weight == 0.2

    def test_a_collection_that_there_is_not_is_searched_as_the_platform_does(self) -> None:
        assert Tunings(self.SETTINGS).of(within("nothing")) == PLATFORM

    def test_digests_tell_tunings_apart(self) -> None:
        tunings = Tunings(self.SETTINGS)
        filters = [within("a"), within("b"), within("a", "b"), within("c"), within("a", "c")]

        assert len({tunings.of(each).digest for each in filters}) == len(filters)
        assert tunings.of(within("c")).digest == ""

    def test_what_only_shapes_the_index_is_no_tuning(self) -> None:
        assert tuned(chunk_tokens=64, title_boost=2.0).digest == ""
