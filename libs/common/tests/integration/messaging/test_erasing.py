"""What streams hold of a tenant is removed and counted."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from libs.common.tests.integration.conftest import MortalNats
from nats.aio.client import Client

from quarry_common.contracts import subjects
from quarry_common.contracts.streams import STREAMS, subjects_of_tenant
from quarry_common.errors import UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.erasing import Erased, erase
from quarry_common.messaging.provision import provision

TENANT, OTHER = new_id(), new_id()
SENT_OF_TENANT = (
    subjects.event(TENANT, "document.indexed"),
    subjects.event(TENANT, "tenant.updated"),
    subjects.command("indexer", TENANT, "index"),
    subjects.command("webhooks", TENANT, "deliver"),
    subjects.dead_letter("indexer", str(TENANT), "indexer-commands"),
)
SENT = (
    *SENT_OF_TENANT,
    *(subject.replace(str(TENANT), str(OTHER)) for subject in SENT_OF_TENANT),
    subjects.event(None, "tenant.purged"),
)


@pytest.fixture
async def bus(mortal_nats: MortalNats) -> AsyncIterator[Client]:
    """A bus of the test's own, with every stream, and two messages on each subject."""
    async with broker.connect(mortal_nats.settings, "test") as client:
        await provision(client.jetstream(), STREAMS, [], replicas=1)
        for subject in SENT * 2:
            await client.jetstream().publish(subject, b"{}")
        yield client


async def messages(bus: Client) -> dict[str, int]:
    found: dict[str, int] = {}
    for stream in STREAMS:
        info = await bus.jetstream().stream_info(stream.name, subjects_filter=">")
        found |= info.state.subjects or {}
    return found


async def test_a_tenants_messages_go_from_every_stream_and_no_others(bus: Client) -> None:
    removed = [await erase(bus, *where) for where in subjects_of_tenant(TENANT)]

    assert sum(each.removed for each in removed) == 2 * len(SENT_OF_TENANT)
    assert sum(each.left for each in removed) == 0
    assert await messages(bus) == {subject: 2 for subject in SENT if subject not in SENT_OF_TENANT}


async def test_it_is_harmless_to_repeat(bus: Client) -> None:
    where = "EVENTS", f"evt.v1.{TENANT}.>"

    assert [await erase(bus, *where) for _ in range(2)] == [Erased(4, 0), Erased(0, 0)]


async def test_a_stream_that_is_not_there_holds_nothing(bus: Client) -> None:
    assert await erase(bus, "SEARCHES", f"log.v1.{TENANT}.>") == Erased(0, 0)


async def test_without_a_server_it_is_said_so(bus: Client, mortal_nats: MortalNats) -> None:
    mortal_nats.kill()
    async with asyncio.timeout(10):
        while bus.is_connected:
            await asyncio.sleep(0.01)

    with pytest.raises(UnavailableError):
        await erase(bus, "EVENTS", f"evt.v1.{TENANT}.>")
