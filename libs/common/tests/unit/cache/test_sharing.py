"""What a process tells of what it heard, and what it takes over from the answers."""

from collections.abc import Callable, Mapping
from uuid import UUID, uuid4

import pytest
from redis.exceptions import RedisError

from quarry_common.cache.agreement import JOIN_SECONDS, MAX_EVENTS, Agreed, News
from quarry_common.cache.hearing import Hearing
from quarry_common.cache.sharing import REFRESH_SECONDS, Content, Sharing
from quarry_common.messaging.heartbeat import Beat

TENANT = uuid4()


class Asked:
    """One exchange, as Redis was asked for it."""

    def __init__(self, news: Mapping[UUID, News], *, hearing: bool, vouching: bool, joining: bool) -> None:
        self.news = dict(news)
        self.hearing = hearing
        self.vouching = vouching
        self.joining = joining


class FakeAgreement:
    """Says what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.watch = "watch"
        self.generation = "first"
        self.error: Exception | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self.left = 0

    def leave(self) -> None:
        self.left += 1

    async def exchange(
        self, news: Mapping[UUID, News], *, hearing: bool, vouching: bool, joining: bool
    ) -> Agreed | None:
        self.asked.append(Asked(news, hearing=hearing, vouching=vouching, joining=joining))
        self.meanwhile()
        if self.error is not None:
            raise self.error
        if not self.watch:
            return Agreed("", None)
        return Agreed(
            self.watch, {tenant: self.generation if each.wanted else "" for tenant, each in news.items()}
        )


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.hearing = Hearing()
        self.agreement = FakeAgreement()
        self.sharing = Sharing(self.agreement, self.hearing, lambda: self.now)  # type: ignore[arg-type]
        self.content = Content("1")
        self.sequence = 0
        self.beat()

    def beat(self) -> None:
        self.sequence += 1
        self.hearing.hear(Beat("one", self.sequence, self.now, 0.0), self.now)

    def generation(self) -> str | None:
        return self.sharing.generation(TENANT, self.content)

    def event(self, event: str = "event") -> None:
        self.sharing.heard(TENANT, self.content, event)

    async def shared(self) -> "World":
        self.generation()
        assert not await self.sharing.agree()
        assert self.generation() == self.agreement.generation
        return self


@pytest.fixture
def world() -> World:
    return World()


async def test_a_generation_is_wanted_once_and_again_after_some_time(world: World) -> None:
    assert world.generation() is None
    await world.shared()
    await world.sharing.agree()
    assert [TENANT in asked.news for asked in world.agreement.asked] == [True, False]

    world.now += REFRESH_SECONDS
    world.beat()
    world.agreement.generation = "second"
    assert world.generation() == "first"
    await world.sharing.agree()
    assert world.generation() == "second"


async def test_an_event_ends_a_generation_until_redis_knows_of_it(world: World) -> None:
    await world.shared()
    world.event()
    world.agreement.generation = "second"
    assert world.generation() is None

    await world.sharing.agree()
    assert world.agreement.asked[-1].news[TENANT] == News(["event"], wanted=True)
    assert world.generation() == "second"


async def test_an_event_heard_meanwhile_makes_the_answer_too_old(world: World) -> None:
    world.agreement.meanwhile = lambda: world.event("later")
    world.event("sooner")
    world.generation()
    await world.sharing.agree()
    assert world.generation() is None

    world.agreement.meanwhile = lambda: None
    await world.sharing.agree()
    assert world.agreement.asked[-1].news[TENANT].events == ["later"]
    assert world.generation() == "first"


async def test_what_was_lost_meanwhile_makes_the_answer_void(world: World) -> None:
    world.agreement.meanwhile = world.sharing.void
    world.generation()
    await world.sharing.agree()
    assert world.generation() is None
    assert not world.sharing.active


async def test_another_watch_voids_what_was_agreed_before(world: World) -> None:
    await world.shared()
    other = Content("2")
    world.agreement.watch = "another"
    world.sharing.generation(uuid4(), other)
    await world.sharing.agree()
    assert world.generation() is None


async def test_without_an_answer_nothing_is_shared_and_others_have_to_vouch(world: World) -> None:
    await world.shared()
    world.event()
    world.now += JOIN_SECONDS
    world.beat()
    world.agreement.error = RedisError("away")
    assert not await world.sharing.agree()
    assert world.agreement.asked[-1].joining
    assert not world.sharing.active
    assert world.generation() is None

    # It must not tell later, as if it had told all the time: it joins like one that has just begun.
    world.agreement.error = None
    await world.sharing.agree()
    assert world.agreement.asked[-1].news[TENANT].events == []
    assert not world.agreement.asked[-1].joining
    world.now += JOIN_SECONDS
    world.beat()
    await world.sharing.agree()
    assert world.agreement.asked[-1].joining


async def test_who_hears_nothing_vouches_for_nothing(world: World) -> None:
    await world.shared()
    world.now += 5
    world.event()
    await world.sharing.agree()
    last = world.agreement.asked[-1]
    assert (last.hearing, last.vouching, last.joining) == (False, False, False)
    # What was agreed on stays: it is told of all the same.
    assert last.news[TENANT].events == ["event"]


async def test_what_is_heard_while_waiting_to_be_let_in_is_told_then(world: World) -> None:
    world.agreement.watch = ""
    world.event("one")
    await world.sharing.agree()
    world.event("two")
    world.agreement.watch = "watch"
    await world.sharing.agree()
    assert world.agreement.asked[-1].news[TENANT].events == ["one", "two"]


async def test_only_the_last_part_of_much_news_vouches(world: World) -> None:
    contents = {uuid4(): Content(f"{number}") for number in range(3)}
    for tenant, content in contents.items():
        for number in range(MAX_EVENTS - 1):
            world.sharing.heard(tenant, content, f"{number}")
    more = [await world.sharing.agree() for _ in range(3)]
    assert more == [True, True, False]
    assert [asked.vouching for asked in world.agreement.asked] == [False, False, True]
    assert all(not content.untold for content in contents.values())


async def test_without_an_agreement_nothing_is_kept_to_be_told(world: World) -> None:
    alone = Sharing(None, world.hearing, lambda: world.now)
    alone.heard(TENANT, world.content, "event")
    assert alone.generation(TENANT, world.content) is None
    assert not await alone.agree()
    assert world.content.untold == []
