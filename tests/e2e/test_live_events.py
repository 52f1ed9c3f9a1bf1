"""The live stream of a running platform, read through connections that break."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from nats.aio.msg import Msg
from tests.platform import Platform, Tenant, until

from quarry_client import ApiError, AsyncClient, RetryPolicy
from quarry_client.types import PlatformEvent
from quarry_common.messaging import broker
from quarry_common.settings import NatsSettings, load

CUTS = 10
DOCUMENTS = 40
QUICK = RetryPolicy(attempts=20, first_delay_seconds=0.01, longest_delay_seconds=0.1, budget_seconds=30)


class Shears:
    """Passes connections on to an address, and cuts each off after a random number of bytes, `CUTS` times."""

    def __init__(self, target: str, chance: random.Random) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._chance = chance
        self.cuts = 0
        self._open: set[asyncio.Task[None] | None] = set()

    async def close(self) -> None:
        """Cut off what is open still."""
        tasks = [each for each in self._open if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        self._open.add(own)
        upstream, to_upstream = await asyncio.open_connection(*self._target)
        asking = asyncio.create_task(self._copy(reader, to_upstream, None))
        limit = None if self.cuts >= CUTS else self._chance.randrange(1, 12_000)
        try:
            await self._copy(upstream, writer, limit)
            self.cuts += limit is not None
        except ConnectionError:
            pass
        finally:
            self._open.discard(own)
            asking.cancel()
            for each in (writer, to_upstream):
                each.transport.abort()
                with suppress(ConnectionError):
                    await each.wait_closed()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None
    ) -> None:
        while piece := await reader.read(65_536 if limit is None else min(limit, 65_536)):
            writer.write(piece)
            await writer.drain()
            if limit is not None:
                limit -= len(piece)
                if limit <= 0:
                    return


@asynccontextmanager
async def shears(target: str, chance: random.Random) -> AsyncIterator[tuple[str, Shears]]:
    made = Shears(target, chance)
    server = await asyncio.start_server(made.pass_on, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", made
        await made.close()


@asynccontextmanager
async def sent_to(platform: Platform, tenant: Tenant) -> AsyncIterator[list[str]]:
    """The ids of the tenant's events as they come over the bus."""
    ids: list[str] = []

    async def hear(message: Msg) -> None:
        ids.append(message.header["Nats-Msg-Id"] if message.header else "")

    settings = load(NatsSettings, {"NATS_URL": platform.plan.shared["NATS_URL"]})
    async with broker.connect(settings, "test") as client:
        await client.subscribe(f"evt.v1.{tenant.id}.>", cb=hear)
        await client.flush()
        yield ids


async def test_a_reader_who_is_cut_off_ten_times_misses_and_repeats_nothing(
    platform: Platform, tenant: Tenant
) -> None:
    told: list[PlatformEvent] = []
    async with (
        sent_to(platform, tenant) as sent,
        shears(platform.url, random.Random(11)) as (url, cut),
        AsyncClient(url, tenant.key, retry=QUICK) as reader,
    ):

        async def follow() -> None:
            async for event in reader.follow_events():
                told.append(event)  # noqa: PERF401 - while it goes on

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.5)
        for number in range(DOCUMENTS):
            await tenant.put(f"bird/{number}", f"Heron number {number} by the river.")

        async def all_told() -> bool:
            return cut.cuts >= CUTS and len(told) >= len(sent) >= 4 * DOCUMENTS

        await until(all_told, 60, "everything was told")
        following.cancel()
        await asyncio.wait([following])

    assert [event.id for event in told] == sent
    assert len({event.place for event in told}) == len(told)


async def test_a_stream_ends_when_its_key_is_revoked(platform: Platform, tenant: Tenant) -> None:
    made = await tenant.client.create_key("follower", scopes=["events:read"])
    told = []
    async with AsyncClient(platform.url, made.key) as reader:
        following = reader.follow_events(["document.*"])
        coming = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0.5)
        await tenant.put("one", "A heron by the river.")
        told.append(await asyncio.wait_for(coming, 20))
        await tenant.client.revoke_key(made.api_key.id)

        with pytest.raises(ApiError) as caught:  # noqa: PT012 - it raises at some event
            async with asyncio.timeout(35):
                async for event in following:
                    told.append(event)  # noqa: PERF401 - until it ends

    assert caught.value.status == 401
    assert {event.type for event in told} <= {"document.uploaded", "document.indexed"}
