"""What a search token forces is never widened by what its holder asks for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libs.common.tests.integration.vectors.test_filters import POPULATION, WORDS, holds, trees

from quarry_common.contracts.filters import And, AnyOf, Field, Filter, Not, Or, collection_limits
from quarry_gateway.access.search_tokens import narrowed


def test_nothing_forced_leaves_a_filter_as_it_is() -> None:
    own = AnyOf(Field.TAGS, ("a",))

    assert narrowed(own, None, None) == own
    assert narrowed(None, None, None) is None


def test_conditions_stand_side_by_side_so_that_limits_to_collections_are_seen() -> None:
    own = And((AnyOf(Field.COLLECTION, ("a", "b")), AnyOf(Field.TAGS, ("x",))))
    forced = And((AnyOf(Field.DOC_TYPE, ("pdf",)), AnyOf(Field.COLLECTION, ("b", "c"))))

    tree = narrowed(own, forced, {"c", "b"})

    assert [limit.values for limit in collection_limits(tree)] == [("a", "b"), ("b", "c"), ("b", "c")]


def test_no_collection_is_no_document() -> None:
    assert narrowed(AnyOf(Field.TAGS, ("a",)), None, frozenset()) == And((AnyOf(Field.TAGS, ("a",)), Or(())))
    assert narrowed(None, None, frozenset()) == Or(())


def forced_filters() -> st.SearchStrategy[Filter | None]:
    return st.one_of(st.none(), trees())


@settings(max_examples=150, deadline=None)
@given(
    own=forced_filters(),
    forced=forced_filters(),
    collections=st.one_of(st.none(), st.frozensets(st.sampled_from(WORDS), max_size=3)),
)
def test_nothing_that_a_caller_asks_for_widens_what_is_forced(
    own: Filter | None, forced: Filter | None, collections: frozenset[str] | None
) -> None:
    tree = narrowed(own, forced, collections)

    for chunk in POPULATION:
        expected = (
            (own is None or holds(own, chunk))
            and (forced is None or holds(forced, chunk))
            and (collections is None or chunk.collection in collections)
        )
        assert (tree is None or holds(tree, chunk)) == expected


@pytest.mark.parametrize("own", [Or(()), Not(And(())), Or((And(()), AnyOf(Field.TAGS, ("SECRET",))))])
def test_tricks_of_the_filter_language_open_nothing(own: Filter) -> None:
    forced = AnyOf(Field.DOC_TYPE, ("pdf",))

    found = [chunk for chunk in POPULATION if holds(narrowed(own, forced, {"docx"}) or And(()), chunk)]

    assert all(chunk.doc_type == "pdf" and chunk.collection == "docx" for chunk in found)
