"""Following what happens: on a real bus with the stream of events, cut off wherever it hurts."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from nats.aio.client import Client

from quarry_common.contracts.events import (
    EXAMPLES,
    ApiKeyRevoked,
    CollectionDeleted,
    DocumentDeleted,
    EventData,
    HealthRecovered,
    JobProgressed,
    envelope,
    subject_of,
)
from quarry_common.contracts.streams import EVENTS
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.messaging import broker, following
from quarry_common.messaging.provision import provision
from quarry_common.settings import NatsSettings
from quarry_gateway.event_streams import live, serving
from quarry_gateway.event_streams.places import Places

PATH = "/api/events/stream"


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: Any


class Stream:
    """An open stream, read event by event; a place that comes alone is remembered."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.lines = answer.aiter_lines()
        self.comments: list[str] = []
        self.last_id = ""

    async def next(self) -> Event | None:
        """Return the next event, or None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self.lines:
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                else:
                    self.last_id = fields.get("id", self.last_id)
                    if "data" in fields:
                        return Event(fields.get("event", "message"), self.last_id, json.loads(fields["data"]))
                    fields = {}
        return None

    async def take(self, count: int) -> list[Event]:
        found = [await self.next() for _ in range(count)]
        assert None not in found
        return [event for event in found if event is not None]

    async def begun(self) -> "Stream":
        """Return when the stream has said where it begins."""
        async with asyncio.timeout(20):
            async for line in self.lines:
                if line.startswith("id: "):
                    self.last_id = line.removeprefix("id: ")
                    return self
        raise AssertionError("the stream did not say where it begins")


@asynccontextmanager
async def following_events(
    client: httpx.AsyncClient, path: str = PATH, *, after: str = "", **query: str
) -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": after} if after else {}
    async with client.stream("GET", path, params=query, headers=headers) as answer:
        yield Stream(answer)


@pytest.fixture(scope="module")
async def bus(nats_url: str) -> AsyncIterator[Client]:
    async with broker.connect(NatsSettings(nats_url=nats_url), "test") as client:
        await provision(client.jetstream(), [EVENTS], [], replicas=1)
        yield client
        await client.jetstream().delete_stream(EVENTS.name)


@pytest.fixture
def tell(bus: Client, backend) -> Callable[..., Any]:
    async def tell(data: EventData, tenant_id: UUID | None = None) -> str:
        event = envelope(data, source="indexer", tenant_id=tenant_id or backend.acme.id)
        await bus.jetstream().publish(subject_of(event), msgspec.json.encode(event))
        return event.id

    return tell


def deleted() -> DocumentDeleted:
    return DocumentDeleted(uuid4(), "a", None)


def example_of(kind: type[EventData]) -> EventData:
    return next(each for each in EXAMPLES if type(each) is kind)


def ids(events: list[Event]) -> list[str]:
    return [event.data["id"] for event in events]


async def test_what_comes_is_told_as_it_is_sent(client, tell) -> None:
    await tell(deleted())
    async with following_events(client) as stream:
        await stream.begun()
        data = deleted()
        told = await tell(data)
        (event,) = await stream.take(1)

    assert stream.answer.status_code == 200
    assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["x-accel-buffering"] == "no"
    assert (event.name, event.data["id"], event.data["type"]) == ("message", told, "document.deleted")
    assert event.data["data"]["document_id"] == str(data.document_id)
    assert event.data["specversion"] == "1.0"


async def test_events_of_other_tenants_and_of_the_installation_are_not_told(client, backend, tell) -> None:
    async with following_events(client) as stream:
        await stream.begun()
        await tell(deleted(), backend.other.id)
        await tell(HealthRecovered("cache", "It was away.", datetime.now(UTC)), PLATFORM_TENANT)
        mine = await tell(deleted())

        assert ids(await stream.take(1)) == [mine]


@pytest.mark.parametrize(
    ("event_types", "wanted"),
    [
        ("document.*", [0]),
        ("document.deleted,api_key.revoked", [0, 2]),
        ("collection.deleted , job.progressed", [1, 3]),
        ("*", [0, 1, 2, 3]),
    ],
)
async def test_only_what_is_asked_for_is_told(client, tell, event_types: str, wanted: list[int]) -> None:
    async with following_events(client, event_types=event_types) as stream:
        await stream.begun()
        told = [
            await tell(example_of(kind))
            for kind in (DocumentDeleted, CollectionDeleted, ApiKeyRevoked, JobProgressed)
        ]

        assert ids(await stream.take(len(wanted))) == [told[each] for each in wanted]


async def test_a_reader_who_is_cut_off_at_random_misses_and_repeats_nothing(client, tell) -> None:
    chance = random.Random(7)
    count = 400
    told: list[str] = []

    async def write() -> None:
        while len(told) < count:
            told.append(await tell(deleted()))
            if chance.random() < 0.3:
                await asyncio.sleep(chance.random() * 0.02)

    read: list[str] = []
    async with following_events(client) as stream:
        place = (await stream.begun()).last_id
    writing = asyncio.create_task(write())
    cuts = 0
    while len(read) < count:
        async with following_events(client, after=place) as stream:
            for _ in range(min(chance.randrange(60), count - len(read))):
                (event,) = await stream.take(1)
                read.append(event.data["id"])
                place = event.id
        cuts += 1
    await writing

    assert cuts >= 10
    assert read == told


async def test_a_reader_who_was_cut_off_before_the_first_event_misses_none(client, tell) -> None:
    async with following_events(client) as stream:
        place = (await stream.begun()).last_id
    meanwhile = [await tell(deleted()) for _ in range(3)]

    async with following_events(client, after=place) as stream:
        assert ids(await stream.take(3)) == meanwhile


async def test_events_that_were_not_asked_for_are_not_read_again_after_a_heartbeat(
    client, tell, bus, monkeypatch
) -> None:
    monkeypatch.setattr(serving, "HEARTBEAT_SECONDS", 0.3)
    async with following_events(client, event_types="job.*") as stream:
        begun = (await stream.begun()).last_id
        for _ in range(3):
            await tell(deleted())
        reading = asyncio.create_task(stream.next())
        async with asyncio.timeout(10):
            while stream.last_id == begun:
                await asyncio.sleep(0.02)
        await tell(example_of(JobProgressed))
        await reading

    assert stream.comments
    places = Places((await following.bounds_of(bus, EVENTS.name)).identity)
    last = places.sequence_of(stream.last_id)
    assert last == places.sequence_of(begun) + 4


async def test_one_begins_with_what_was_told_since(client, tell) -> None:
    await tell(deleted())
    await asyncio.sleep(0.05)
    since = datetime.now(UTC)
    told = [await tell(deleted()) for _ in range(100)]

    async with following_events(client, since=since.isoformat()) as stream:
        events = await stream.take(100)
    async with following_events(client, since=since.isoformat(), after=events[49].id) as stream:
        rest = await stream.take(50)

    assert ids(events) == told
    assert ids(rest) == told[50:]


async def test_what_is_not_kept_any_more_is_told_to_be_missing(client, tell, bus) -> None:
    async with following_events(client) as stream:
        place = (await stream.begun()).last_id
    await tell(deleted())
    await bus.jetstream().purge_stream(EVENTS.name)
    kept = await tell(deleted())

    async with following_events(client, after=place) as stream:
        missed, event = await stream.take(2)
    async with following_events(client, after=event.id) as stream:
        await stream.begun()
        next_one = await tell(deleted())
        (after,) = await stream.take(1)

    assert (missed.name, set(missed.data)) == ("missed", {"detail"})
    assert "not kept" in missed.data["detail"]
    assert (event.name, event.data["id"]) == ("message", kept)
    assert after.data["id"] == next_one


async def test_an_id_of_a_stream_that_is_gone_begins_with_what_there_is(client, bus, tell) -> None:
    there = await tell(deleted())
    other = Places("2027-01-31").id_of(1)

    async with following_events(client, after=other) as stream:
        missed = await stream.next()
        events = []
        while there not in ids(events):
            events += await stream.take(1)

    assert missed is not None
    assert (missed.name, "set up anew" in missed.data["detail"]) == ("missed", True)


def test_an_id_tells_nothing_and_means_the_same_to_every_gateway() -> None:
    places = [Places("2027-01-31") for _ in range(2)]
    given = [places[0].id_of(sequence) for sequence in range(1, 200)]

    assert [places[1].sequence_of(each) for each in given] == list(range(1, 200))
    assert len({each[:4] for each in given}) > 190
    assert not set(given) & {Places("2027-02-01").id_of(sequence) for sequence in range(1, 200)}


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ({"event_types": "document.found"}, {}, "event_types"),
        ({"event_types": "search.performed"}, {}, "event_types"),
        ({"event_types": "webhook.test"}, {}, "event_types"),
        ({"event_types": "health.*"}, {}, "event_types"),
        ({"event_types": "document.*,"}, {}, "event_types"),
        ({"event_types": ""}, {}, "event_types"),
        ({"since": "2027-01-31"}, {}, "since"),
        ({"since": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, {}, "since"),
        ({"since": (datetime.now(UTC) - timedelta(days=15)).isoformat()}, {}, "since"),
        ({}, {"Last-Event-ID": "7"}, "Last-Event-ID"),
        ({}, {"Last-Event-ID": "'; DROP TABLE events; --"}, "Last-Event-ID"),
    ],
)
async def test_what_cannot_be_followed_is_refused_with_the_field(client, bus, query, headers, field) -> None:
    answer = await client.get(PATH, params=query, headers=headers)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_an_operator_follows_every_tenant_and_the_installation(client, backend, tell) -> None:
    client.headers["X-API-Key"] = backend.key(operator=True)
    path = "/api/admin/events/stream"
    async with following_events(client, path, event_types="document.*,health.*") as stream:
        await stream.begun()
        told = [
            await tell(deleted()),
            await tell(deleted(), backend.other.id),
            await tell(HealthRecovered("cache", "It was away.", datetime.now(UTC)), PLATFORM_TENANT),
        ]
        events = await stream.take(3)

    assert ids(events) == told
    tenants = [event.data["tenantid"] for event in events]
    assert tenants == [str(each) for each in (backend.acme.id, backend.other.id, PLATFORM_TENANT)]


async def test_a_revoked_key_ends_its_stream(client, bus, monkeypatch) -> None:
    monkeypatch.setattr(serving, "KEY_CHECK_SECONDS", 0.0)
    made = (await client.post("/api/keys", json={"name": "x", "scopes": ["events:read"]})).json()
    admin, client.headers["X-API-Key"] = client.headers["X-API-Key"], made["key"]
    async with following_events(client) as stream:
        await stream.begun()
        await client.delete(f"/api/keys/{made['api_key']['id']}", headers={"X-API-Key": admin})

        (told,) = await stream.take(1)
        end = await stream.next()

    assert (told.name, told.data["status"], told.data["code"]) == ("error", 401, "unauthenticated")
    assert end is None


async def test_a_tenant_has_not_all_the_streams(gateway_settings, serve, client, backend, bus) -> None:
    settings = gateway_settings.model_copy(update={"max_event_streams": 3, "max_event_streams_of_tenant": 2})
    async with serve(settings) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as other:
        other.headers["X-API-Key"] = client.headers["X-API-Key"]
        async with following_events(other) as first, following_events(other) as second:
            await first.begun()
            await second.begun()
            refused = await other.get(PATH)
            other.headers["X-API-Key"] = backend.key(tenant=backend.other)
            async with following_events(other) as third:
                await third.begun()
                full = await other.get(PATH)

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert (full.status_code, full.json()["code"]) == (503, "unavailable")


async def test_a_reader_who_takes_nothing_is_let_go_and_nothing_is_kept_for_him(
    client, gateway_url, tell, monkeypatch
) -> None:
    monkeypatch.setattr(serving, "SEND_SECONDS", 1.0)
    since = datetime.now(UTC)
    large = CollectionDeleted("x" * 500_000, 1)
    host, port = gateway_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as reader:
        for _ in range(60):
            await tell(large)
        request = f"GET {PATH}?since={since:%Y-%m-%dT%H:%M:%S}Z HTTP/1.1\r\nHost: x\r\n"
        reader.sendall(f"{request}X-API-Key: {client.headers['X-API-Key']}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            while "http_event_streams 1.0" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.02)
            while "http_event_streams 0.0" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.02)


async def test_a_bus_that_does_not_answer_is_a_problem_and_no_stream(client, bus, monkeypatch) -> None:
    monkeypatch.setattr(live, "EVENTS", msgspec.structs.replace(EVENTS, name="AWAY"))

    answer = await client.get(PATH)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
