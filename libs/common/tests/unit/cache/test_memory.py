"""The memory tier: bounds, sizes, time, and a model that it must not differ from."""

from collections import OrderedDict
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quarry_common.cache.keys import EntryKey, Generation, entry_key, memory_pattern
from quarry_common.cache.memory import OVERHEAD_BYTES, MemoryTier

TENANT, OTHER = UUID(int=1), UUID(int=2)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def place(key: str, tenant: UUID = TENANT, generation: str = "1", name: str = "search") -> EntryKey:
    return entry_key("quarry:", tenant, name, key, Generation(generation, None))


def test_the_least_recently_used_goes_first(clock: Clock) -> None:
    memory = MemoryTier(2, 1 << 20, clock=clock)
    memory.set(place("a"), b"1", 60)
    memory.set(place("b"), b"2", 60)
    memory.get(place("a"))
    memory.set(place("c"), b"3", 60)

    assert memory.get(place("b")) is None
    assert memory.get(place("a")) == b"1"
    assert memory.evictions == 1


def test_bytes_are_bounded_and_counted_to_the_last(clock: Clock) -> None:
    memory = MemoryTier(1000, 10 * (OVERHEAD_BYTES + 1100), clock=clock)
    for number in range(50):
        memory.set(place(f"{number:02}"), b"x" * 1000, 60)

    assert 0 < memory.size_bytes <= 10 * (OVERHEAD_BYTES + 1100)
    assert memory.size_bytes == len(memory) * (OVERHEAD_BYTES + len(place("00").memory) + 1000)
    assert memory.evictions == 50 - len(memory)


def test_a_replaced_value_is_counted_once(clock: Clock) -> None:
    memory = MemoryTier(10, 1 << 20, clock=clock)
    memory.set(place("a"), b"x" * 1000, 60)
    memory.set(place("a"), b"y", 60)

    assert len(memory) == 1
    assert memory.size_bytes == OVERHEAD_BYTES + len(place("a").memory) + 1


def test_what_is_larger_than_the_memory_is_not_kept_nor_is_its_predecessor(clock: Clock) -> None:
    memory = MemoryTier(10, 2000, clock=clock)
    memory.set(place("a"), b"old", 60)
    memory.set(place("a"), b"x" * 3000, 60)

    assert memory.get(place("a")) is None
    assert (len(memory), memory.size_bytes, memory.evictions) == (0, 0, 0)


def test_an_entry_ends_with_its_time(clock: Clock) -> None:
    memory = MemoryTier(10, 1 << 20, clock=clock)
    memory.set(place("a"), b"1", 10)
    clock.now += 9.9
    assert memory.get(place("a")) == b"1"

    clock.now += 0.1
    assert memory.get(place("a")) is None
    assert memory.size_bytes == 0


def test_a_generation_goes_without_the_others(clock: Clock) -> None:
    memory = MemoryTier(10, 1 << 20, clock=clock)
    kept = [place("a", generation="2"), place("a", OTHER), place("b", generation="-")]
    for key in (place("a"), place("b"), place("a", name="other"), *kept):
        memory.set(key, b"1", 60)

    memory.forget(TENANT, "1")

    assert len(memory) == len(kept)
    assert all(memory.get(key) for key in kept)


def test_a_pattern_reaches_every_generation_of_one_tenant_and_name(clock: Clock) -> None:
    memory = MemoryTier(10, 1 << 20, clock=clock)
    kept = [place("ab", OTHER), place("ab", name="other"), place("xab")]
    for key in (place("ab"), place("ac", generation="2"), *kept):
        memory.set(key, b"1", 60)

    assert memory.invalidate(TENANT, memory_pattern("search", "a*")) == 2
    assert all(memory.get(key) for key in kept)


def test_each_cache_knows_what_it_takes(clock: Clock) -> None:
    memory = MemoryTier(3, 1 << 20, clock=clock)
    for key in (place("a"), place("b"), place("c", OTHER, name="a:b")):
        memory.set(key, b"x" * 10, 60)
    assert memory.usage("a:b").entries == 1
    memory.set(place("d"), b"x", 60)
    memory.forget(OTHER, "1")

    search, other = memory.usage("search"), memory.usage("a:b")
    assert (search.entries, search.evictions, search.size_bytes) == (2, 1, memory.size_bytes)
    assert (other.entries, other.evictions, other.size_bytes) == (0, 0, 0)


def test_all_of_it_may_be_forgotten(clock: Clock) -> None:
    memory = MemoryTier(10, 1 << 20, clock=clock)
    for tenant in (TENANT, OTHER):
        memory.set(place("a", tenant), b"1", 60)

    assert memory.clear() == 2
    assert (len(memory), memory.size_bytes, memory.evictions) == (0, 0, 0)
    assert memory.invalidate(TENANT, memory_pattern(None, "*")) == 0


KEYS = st.tuples(st.sampled_from([TENANT, OTHER]), st.sampled_from("12"), st.sampled_from("abcdef"))


class AgainstModel(RuleBasedStateMachine):
    """The model keeps entries in a list, the most recently used at its end."""

    MAX_ITEMS, MAX_BYTES = 5, 5 * OVERHEAD_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.memory = MemoryTier(self.MAX_ITEMS, self.MAX_BYTES, clock=self.clock)
        self.model: OrderedDict[tuple[UUID, str, str], tuple[bytes, float]] = OrderedDict()
        self.evictions = 0

    def key(self, key: tuple[UUID, str, str]) -> EntryKey:
        return place(key[2], key[0], key[1])

    def size(self, key: tuple[UUID, str, str], value: bytes) -> int:
        return OVERHEAD_BYTES + len(self.key(key).memory) + len(value)

    def total(self) -> int:
        return sum(self.size(key, value) for key, (value, _) in self.model.items())

    @rule(key=KEYS, length=st.integers(0, 3 * OVERHEAD_BYTES), ttl=st.integers(1, 9))
    def set(self, key: tuple[UUID, str, str], length: int, ttl: int) -> None:
        value = b"x" * length
        self.memory.set(self.key(key), value, ttl)
        self.model.pop(key, None)
        if self.size(key, value) <= self.MAX_BYTES:
            self.model[key] = (value, self.clock.now + ttl)
        while len(self.model) > self.MAX_ITEMS or self.total() > self.MAX_BYTES:
            self.model.popitem(last=False)
            self.evictions += 1

    @rule(key=KEYS)
    def get(self, key: tuple[UUID, str, str]) -> None:
        value, expires_at = self.model.get(key, (None, 0.0))
        if value is not None and expires_at <= self.clock.now:
            del self.model[key]
            value = None
        elif value is not None:
            self.model.move_to_end(key)
        assert self.memory.get(self.key(key)) == value

    @rule(key=KEYS)
    def delete(self, key: tuple[UUID, str, str]) -> None:
        assert self.memory.delete(self.key(key)) == (self.model.pop(key, None) is not None)

    @rule(tenant=st.sampled_from([TENANT, OTHER]), generation=st.sampled_from("12"))
    def forget(self, tenant: UUID, generation: str) -> None:
        self.memory.forget(tenant, generation)
        for key in [key for key in self.model if key[:2] == (tenant, generation)]:
            del self.model[key]

    @rule(tenant=st.sampled_from([TENANT, OTHER]), letter=st.sampled_from("abcdef"))
    def invalidate(self, tenant: UUID, letter: str) -> None:
        gone = [key for key in self.model if key[0] == tenant and key[2] == letter]
        assert self.memory.invalidate(tenant, memory_pattern("search", letter)) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def it_is_bounded_and_counts_as_the_model_does(self) -> None:
        assert len(self.memory) == len(self.model) <= self.MAX_ITEMS
        assert self.memory.size_bytes == self.total() <= self.MAX_BYTES
        assert self.memory.evictions == self.evictions


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
