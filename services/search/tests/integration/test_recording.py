"""What is searched stands in the search log, and what does not is told by number."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from nats.aio.client import Client

from quarry_common.contracts import subjects
from quarry_common.contracts.events import CloudEvent
from quarry_common.contracts.events.searches import Searched, SearchesUnrecorded
from quarry_common.contracts.filters import AnyOf, Field
from quarry_common.contracts.search import Answer, Asker, CacheUse, Query, SearchMode
from quarry_common.contracts.streams import SEARCHES
from quarry_common.ids import new_id
from quarry_common.messaging.broker import connect
from quarry_common.messaging.provision import provision
from quarry_search.recording import TOGETHER, Recorder
from quarry_search.settings import SearchSettings

from .conftest import Search


class Log:
    """What the stream holds of one tenant."""

    def __init__(self, bus: Client, tenant_id: UUID) -> None:
        self.bus = bus
        self.tenant_id = tenant_id

    async def messages(self) -> list[list[CloudEvent]]:
        """Return the events of each message, oldest first."""
        stream = self.bus.jetstream()
        subscription = await stream.subscribe(subjects.search_log(self.tenant_id), ordered_consumer=True)
        found = []
        info = await stream.stream_info(SEARCHES.name, subjects_filter=subjects.search_log(self.tenant_id))
        for _ in range(sum((info.state.subjects or {}).values())):
            message = await subscription.next_msg(timeout=5)
            found.append(msgspec.json.decode(message.data, type=list[CloudEvent]))
        await subscription.unsubscribe()
        return found

    async def searched(self, count: int) -> list[Searched]:
        """Return what was searched once there is so much of it."""
        async with asyncio.timeout(10):
            while True:
                events = [event for message in await self.messages() for event in message]
                found = [event for event in events if event.type == Searched.type]
                if len(found) >= count:
                    assert all(event.id == event.subject for event in found)
                    return [msgspec.json.decode(event.data, type=Searched) for event in found]
                await asyncio.sleep(0.05)


@pytest.fixture
async def bus(settings: SearchSettings) -> AsyncIterator[Client]:
    async with connect(settings, "test") as client:
        await provision(client.jetstream(), [SEARCHES], [], replicas=1)
        yield client


async def test_an_answer_is_recorded_with_who_asked_and_what_came_of_it(bus: Client, search: Search) -> None:
    await search.store("A lease ends after three months.", "The deposit is two rents.")
    asker = Asker(uuid4(), "anna", "browser-7")
    narrowed = AnyOf(Field.COLLECTION, ("default",))

    answer = await search.ask("lease deposit", asker=asker, filters=narrowed, mode=SearchMode.KEYWORD)

    (recorded,) = await Log(bus, search.tenant_id).searched(1)
    assert recorded.query_id == answer.query_id
    assert recorded.results == [result.document_id for result in answer.results]
    assert recorded.top_score == answer.results[0].score
    assert (recorded.query, recorded.mode, recorded.total) == ("lease deposit", SearchMode.KEYWORD, 2)
    assert (recorded.collection, recorded.filtered, recorded.continued) == ("default", True, False)
    assert Asker(recorded.key_id, recorded.user_id, recorded.client_id) == asker
    assert recorded.duration_ms > 0


async def test_who_asks_makes_no_other_answer_and_each_is_recorded(bus: Client, search: Search) -> None:
    await search.store("A lease ends after three months.")
    for user in ("anna", "ben"):
        await search.ask("lease", asker=Asker(user_id=user))

    recorded = await Log(bus, search.tenant_id).searched(2)

    assert {each.user_id for each in recorded} == {"anna", "ben"}
    assert len({each.query_id for each in recorded}) == 2


async def test_a_later_page_is_told_as_such(bus: Client, search: Search) -> None:
    await search.store("A lease of a house.", "A lease of a garage.")
    first = await search.ask("lease", limit=1)
    await search.ask("lease", limit=1, cursor=first.next_cursor)

    recorded = await Log(bus, search.tenant_id).searched(2)

    assert sorted(each.continued for each in recorded) == [False, True]


def answered(query: Query) -> Answer:
    given: dict[str, Any] = {"results": [], "timings_ms": {}, "cache": CacheUse.OFF}
    return Answer(query_id=new_id(), mode=query.mode, query=query.query, total=0, **given)


async def test_searches_share_messages(bus: Client) -> None:
    tenant_id = uuid4()
    recorder = Recorder(bus, "test")
    query = Query(tenant_id, "lease")
    for _ in range(2 * TOGETHER):
        recorder.note(query, answered(query), 0.001)

    await recorder.flush()

    assert [len(message) for message in await Log(bus, tenant_id).messages()] == [TOGETHER, TOGETHER]


async def test_what_finds_no_room_is_told_by_number(bus: Client) -> None:
    tenant_id = uuid4()
    recorder = Recorder(bus, "test", max_waiting=3)
    query = Query(tenant_id, "lease")
    for _ in range(5):
        recorder.note(query, answered(query), 0.001)

    await recorder.flush()
    await recorder.flush()

    recorded, (told,) = await Log(bus, tenant_id).messages()
    assert len(recorded) == 3
    assert msgspec.json.decode(told.data, type=SearchesUnrecorded).searches == 2


async def test_what_the_log_did_not_take_is_told_when_it_does_again(bus: Client) -> None:
    tenant_id = uuid4()
    recorder = Recorder(bus, "test")
    query = Query(tenant_id, "lease")
    await bus.jetstream().delete_stream(SEARCHES.name)
    recorder.note(query, answered(query), 0.001)
    await recorder.flush()

    await provision(bus.jetstream(), [SEARCHES], [], replicas=1)
    await recorder.flush()

    ((told,),) = await Log(bus, tenant_id).messages()
    assert msgspec.json.decode(told.data, type=SearchesUnrecorded).searches == 1
