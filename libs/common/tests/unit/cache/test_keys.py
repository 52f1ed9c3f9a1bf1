"""Keys: nothing that a caller puts into one reaches another tenant, cache or generation."""

from fnmatch import fnmatchcase
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarry_common.cache.keys import (
    UNCHANGING,
    Generation,
    digest,
    entry_key,
    memory_pattern,
    redis_pattern,
)

PREFIX = "quarry:"
TENANT, OTHER = UUID(int=1), UUID(int=2)
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
HOSTILE = [
    f"{OTHER}:search:-:key",
    "a:b",
    "*",
    "?",
    "[a-z]*",
    "a\\*",
    "%2A",
    "\x00",
    "\n",
    "../..",
    "\ud800",
    "ключ",
    "{slot}",
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_key_stays_where_it_is(hostile: str) -> None:
    key = entry_key(PREFIX, TENANT, "search", hostile, UNCHANGING)

    assert key.shared.startswith(f"{PREFIX}entry:{TENANT}:search:-:")
    assert key.shared.count(":") == 5
    assert key.shared.isascii()
    assert not set(key.shared) & set("*?[]\\^{} \n\x00")


@given(a=st.tuples(TEXT, TEXT), b=st.tuples(TEXT, TEXT))
def test_different_names_and_keys_have_different_places(a: tuple[str, str], b: tuple[str, str]) -> None:
    one, other = (entry_key(PREFIX, TENANT, name, key, UNCHANGING) for name, key in (a, b))
    assert (one.shared == other.shared) == (one.memory == other.memory) == (a == b)


@given(pattern=TEXT, key=TEXT, name=TEXT)
def test_no_pattern_reaches_another_tenant(pattern: str, key: str, name: str) -> None:
    foreign = entry_key(PREFIX, OTHER, name, key, UNCHANGING)
    for chosen in (name, None):
        assert not fnmatchcase(foreign.shared, redis_pattern(PREFIX, TENANT, chosen, pattern))


@given(pieces=st.lists(TEXT.filter(lambda text: "*" not in text), min_size=1, max_size=4), filling=TEXT)
def test_a_pattern_means_the_same_in_both_tiers(pieces: list[str], filling: str) -> None:
    pattern, fitting = "*".join(pieces), filling.join(pieces)
    for key in (fitting, f"{fitting}!", f"!{fitting}", "".join(pieces)):
        place = entry_key(PREFIX, TENANT, "search", key, Generation("7", "abc"))
        in_redis = fnmatchcase(place.shared, redis_pattern(PREFIX, TENANT, "search", pattern))
        in_memory = memory_pattern("search", pattern).fullmatch(place.memory) is not None
        assert in_redis == in_memory
    place = entry_key(PREFIX, TENANT, "search", fitting, Generation("7", "abc"))
    assert memory_pattern("search", pattern).fullmatch(place.memory)
    assert not memory_pattern("other", pattern).fullmatch(place.memory)


def test_a_tenant_is_a_uuid() -> None:
    with pytest.raises(TypeError):
        entry_key(PREFIX, f"{OTHER}:search:-:key", "search", "a", UNCHANGING)  # type: ignore[arg-type]


def test_a_long_key_is_refused_and_may_be_digested() -> None:
    with pytest.raises(ValueError, match="1025 characters"):
        entry_key(PREFIX, TENANT, "search", "x" * 1025, UNCHANGING)

    assert len(digest("x" * 100_000)) == 40
    assert digest("a", "bc") != digest("ab", "c")
    assert digest("a") != digest(b"a")
    assert digest("a", "") != digest("a")


def test_generations_are_apart() -> None:
    kept = {
        entry_key(PREFIX, TENANT, "search", "a", Generation(local, uuid4().hex)).memory for local in "12-"
    }
    assert len(kept) == 3


def test_without_a_shared_generation_there_is_no_place_in_redis() -> None:
    key = entry_key(PREFIX, TENANT, "search", "a", Generation("1", None))
    assert (key.shared, key.lock) == ("", "")
