"""Following a job: server-sent events, their end, their bounds."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from quarry_common import keys
from quarry_common.contracts.jobs import Job, JobState, Stage
from quarry_common.errors import NotFoundError, UnavailableError
from quarry_gateway.event_streams import job as job_events
from quarry_gateway.event_streams import serving


@dataclass(frozen=True)
class Event:
    name: str
    id: str | None
    data: Any


class Stream:
    """An open stream, read event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.lines = answer.aiter_lines()
        self.comments: list[str] = []

    async def next(self) -> Event | None:
        """Return the next event, or None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self.lines:
                if not line and "data" in fields:
                    return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
                if line.startswith(":"):
                    self.comments.append(line)
                name, _, value = line.partition(": ")
                fields[name] = value
        return None

    async def rest(self) -> list[Event]:
        return [event async for event in self._all()]

    async def _all(self) -> AsyncIterator[Event]:
        while (event := await self.next()) is not None:
            yield event


@asynccontextmanager
async def following(client: httpx.AsyncClient, job_id: object, **headers: str) -> AsyncIterator[Stream]:
    async with client.stream("GET", f"/api/jobs/{job_id}/events", headers=headers) as answer:
        yield Stream(answer)


@pytest.fixture
async def job_id(client, backend) -> UUID:
    """Return a job that goes on only when the test says so."""
    backend.job_outcome = None
    return UUID((await client.post("/api/documents", json={"title": "x"})).json()["job_id"])


async def test_the_present_state_comes_at_once_and_each_change_until_the_end(client, backend, job_id) -> None:
    async with following(client, job_id) as stream:
        assert stream.answer.status_code == 200
        assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.answer.headers["cache-control"] == "no-store"
        first = await stream.next()
        backend.change(backend.acme.id, job_id, state=JobState.RUNNING, stage=Stage.EMBED, chunks_done=3)
        second = await stream.next()
        backend.change(backend.acme.id, job_id, state=JobState.SUCCEEDED, stage=None)
        rest = await stream.rest()

    assert first is not None
    assert (first.name, first.id, first.data["state"]) == ("job", "1", "queued")
    assert set(first.data) == set(Job.__struct_fields__)
    assert second is not None
    assert (second.id, second.data["stage"], second.data["chunks_done"]) == ("2", "embed", 3)
    assert [(event.name, event.id) for event in rest] == [("job", "3"), ("end", None)]
    assert rest[1].data == {"state": "succeeded"}


async def test_a_change_that_nobody_made_is_not_told(client, backend, job_id) -> None:
    async with following(client, job_id) as stream:
        await stream.next()
        asked = len(backend.asked)
        async with asyncio.timeout(10):
            while len(backend.asked) < asked + 2:
                await asyncio.sleep(0.01)
        backend.change(backend.acme.id, job_id, state=JobState.CANCELLED)

        assert [event.id for event in await stream.rest()] == ["2", None]


@pytest.mark.parametrize(
    ("seen", "names"),
    [("1", ["end"]), ("0", ["job", "end"]), ("99", ["job", "end"]), ("nonsense", ["job", "end"]),
     ("9" * 400, ["job", "end"])],
)  # fmt: skip
async def test_what_its_reader_has_seen_is_not_told_again(client, backend, job_id, seen, names) -> None:
    job = backend.jobs[backend.acme.id, job_id]
    backend.jobs[backend.acme.id, job_id] = msgspec.structs.replace(job, state=JobState.SUCCEEDED)

    async with following(client, job_id, **{"Last-Event-ID": seen}) as stream:
        assert [event.name for event in await stream.rest()] == names


async def test_a_job_that_is_not_there_is_a_problem_and_no_stream(client, backend, job_id) -> None:
    for wanted, status in ((uuid4(), 404), ("7", 422)):
        answer = await client.get(f"/api/jobs/{wanted}/events")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    client.headers["X-API-Key"] = backend.key(tenant=backend.other)
    assert (await client.get(f"/api/jobs/{job_id}/events")).status_code == 404


async def test_a_job_that_goes_away_ends_its_stream_with_the_problem(client, backend, job_id) -> None:
    async with following(client, job_id) as stream:
        await stream.next()
        backend.refuse_job = NotFoundError("There is no such job.")

        (told,) = await stream.rest()

    assert (told.name, told.data["status"], told.data["code"]) == ("error", 404, "not_found")
    assert told.data["request_id"] == stream.answer.headers["x-request-id"]


async def test_an_indexer_that_is_away_for_a_while_is_waited_for(client, backend, job_id) -> None:
    async with following(client, job_id) as stream:
        await stream.next()
        backend.refuse_job = UnavailableError("The database cannot be reached.")
        asked = len(backend.asked)
        async with asyncio.timeout(10):
            while len(backend.asked) < asked + 2:
                await asyncio.sleep(0.01)
        backend.refuse_job = None
        backend.change(backend.acme.id, job_id, state=JobState.FAILED)

        assert [event.name for event in await stream.rest()] == ["job", "end"]


async def test_an_indexer_that_stays_away_is_told(client, backend, job_id, monkeypatch) -> None:
    monkeypatch.setattr(job_events, "PATIENCE_SECONDS", 0.3)
    async with following(client, job_id) as stream:
        await stream.next()
        backend.refuse_job = UnavailableError("The database cannot be reached.")

        (told,) = await stream.rest()

    assert (told.name, told.data["code"]) == ("error", "unavailable")


async def test_a_quiet_stream_has_a_heartbeat(client, backend, job_id, monkeypatch) -> None:
    monkeypatch.setattr(serving, "HEARTBEAT_SECONDS", 0.3)
    async with following(client, job_id) as stream:
        reading = asyncio.create_task(stream.rest())
        async with asyncio.timeout(10):
            while not stream.comments:
                await asyncio.sleep(0.01)
        backend.change(backend.acme.id, job_id, state=JobState.SUCCEEDED)

        assert [event.name for event in await reading] == ["job", "job", "end"]


async def test_a_revoked_key_ends_its_stream(client, backend, job_id, monkeypatch) -> None:
    monkeypatch.setattr(serving, "KEY_CHECK_SECONDS", 0.0)
    made = (await client.post("/api/keys", json={"name": "x", "scopes": ["documents:read"]})).json()
    async with following(client, job_id, **{"X-API-Key": made["key"]}) as stream:
        await stream.next()
        await client.delete(f"/api/keys/{made['api_key']['id']}")

        (told,) = await stream.rest()

    assert (told.name, told.data["status"], told.data["code"]) == ("error", 401, "unauthenticated")


async def test_a_key_that_nobody_can_look_up_is_believed_for_a_while_only(
    gateway_settings, serve, client, backend, job_id, monkeypatch
) -> None:
    monkeypatch.setattr(serving, "KEY_CHECK_SECONDS", 0.0)
    monkeypatch.setattr(serving, "KEY_BELIEVED_SECONDS", 1.0)
    settings = gateway_settings.model_copy(update={"key_cache_seconds": 0.0})
    headers = {"X-API-Key": client.headers["X-API-Key"]}
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers=headers) as other,
        following(other, job_id) as stream,
    ):
        await stream.next()
        monkeypatch.setattr(backend, "principals", Unreachable())
        asked = len(backend.asked)
        async with asyncio.timeout(10):
            while len(backend.asked) < asked + 2:
                await asyncio.sleep(0.01)
        backend.change(backend.acme.id, job_id)

        assert [event.name for event in await stream.rest()] == ["job", "error"]


class Unreachable(dict[bytes, object]):
    """Keys that cannot be looked up."""

    def __contains__(self, _key: object) -> bool:
        raise UnavailableError("The database cannot be reached.")


@pytest.fixture
async def small(gateway_settings, serve, backend, client, job_id) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a gateway that takes one request and one stream at a time."""
    settings = gateway_settings.model_copy(update={"max_concurrent_requests": 1, "max_event_streams": 1})
    headers = {"X-API-Key": client.headers["X-API-Key"]}
    async with serve(settings) as (url, _), httpx.AsyncClient(base_url=url, headers=headers) as other:
        yield other


async def test_streams_are_bounded_and_make_room_when_their_client_goes(small, job_id) -> None:
    async with following(small, job_id) as stream:
        await stream.next()
        refused = await small.get(f"/api/jobs/{job_id}/events")

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    async with asyncio.timeout(10):
        while True:
            async with following(small, job_id) as stream:
                if stream.answer.status_code == 200:
                    break
            await asyncio.sleep(0.02)


async def test_a_refused_stream_takes_no_place(small, job_id) -> None:
    for _ in range(3):
        assert (await small.get(f"/api/jobs/{uuid4()}/events")).status_code == 404

    async with following(small, job_id) as stream:
        assert stream.answer.status_code == 200


async def test_an_open_stream_is_no_request_in_flight(small, job_id) -> None:
    async with following(small, job_id) as stream:
        await stream.next()
        answer = await small.get("/api/jobs")
        metrics = (await small.get("/metrics")).text

    assert answer.status_code == 200
    assert "http_event_streams 1.0" in metrics
    assert 'http_request_duration_seconds_count{method="GET",route="/api/jobs/{job_id}/events"}' in metrics


async def test_a_stream_has_a_longest_life_and_is_then_resumed(
    gateway_settings, serve, client, backend, job_id
) -> None:
    settings = gateway_settings.model_copy(update={"event_stream_seconds": 0.3})
    headers = {"X-API-Key": client.headers["X-API-Key"]}
    async with serve(settings) as (url, _), httpx.AsyncClient(base_url=url, headers=headers) as other:
        async with following(other, job_id) as stream:
            assert [event.name for event in await stream.rest()] == ["job"]
        backend.change(backend.acme.id, job_id, state=JobState.SUCCEEDED)
        async with following(other, job_id, **{"Last-Event-ID": "1"}) as stream:
            assert [event.name for event in await stream.rest()] == ["job", "end"]


async def test_a_stopping_gateway_ends_its_streams(gateway_settings, serve, client, job_id) -> None:
    headers = {"X-API-Key": client.headers["X-API-Key"]}
    async with (
        serve(gateway_settings) as (url, stopping),
        httpx.AsyncClient(base_url=url, headers=headers) as other,
        following(other, job_id) as stream,
    ):
        await stream.next()
        stopping.set()

        assert await stream.rest() == []


async def test_a_stream_needs_a_valid_key(http, backend) -> None:
    unknown = {"X-API-Key": keys.generate(keys.KeyLabel.LIVE)}

    answer = await http.get(f"/api/jobs/{uuid4()}/events", headers=unknown)

    assert answer.status_code == 401
