"""Everything that a running platform sends is what docs/asyncapi.json says, on the channel that it names."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from aiohttp import web
from nats.aio.msg import Msg
from tests.platform import Platform, Tenant, until

from quarry_client import AsyncClient
from quarry_client.errors import ApiError
from quarry_client.types import PlatformEvent
from quarry_common.contracts.events import EVENT_TYPES, Way
from quarry_common.messaging import broker
from quarry_common.settings import NatsSettings, load

Json = dict[str, Any]

DESCRIBED: Json = json.loads((Path(__file__).parents[2] / "docs" / "asyncapi.json").read_text("utf-8"))
NOT_PROVOKED = {
    "api_key.anomaly_detected",  # needs a key that slept for weeks, or thousands of denials
    "quota.threshold_reached",  # in the tests of the indexer and of tenants
    "search.interacted",  # in the tests of analytics
    "search.unrecorded",  # needs an overload
    "webhook.endpoint_failing",  # after a day
}
LONG = " ".join(f"word{n}" for n in range(8_000))


class Heard:
    """What came over the bus since the test began."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Json]] = []
        self.wrong: list[str] = []
        self._channels = {
            name: re.compile(re.escape(channel["address"]).replace(r"\{tenant_id\}", r"[0-9a-f-]{36}") + "$")
            for name, channel in DESCRIBED["channels"].items()
            if channel["address"]
        }

    async def hear(self, message: Msg) -> None:
        body = json.loads(message.data)
        for event in body if isinstance(body, list) else [body]:
            self.messages.append((message.subject, event))
        try:
            self._check(message.subject, body)
        except (AssertionError, jsonschema.ValidationError) as error:
            self.wrong.append(f"{message.subject}: {str(error)[:500]}")

    def _check(self, subject: str, body: Any) -> None:
        events = body if isinstance(body, list) else [body]
        (name,) = [name for name, address in self._channels.items() if address.match(subject)]
        for event in events:
            assert event["type"] in DESCRIBED["channels"][name]["messages"]
            assert f".{event['tenantid']}." in subject
            # A batch may hold several types: each is held against its own message.
            sent = [event] if isinstance(body, list) else event
            message = DESCRIBED["components"]["messages"][event["type"]]
            schema = message["payload"] | {"components": DESCRIBED["components"]}
            jsonschema.validate(
                sent,
                schema,
                cls=jsonschema.Draft202012Validator,
                format_checker=jsonschema.FormatChecker(["uuid", "date-time"]),
            )

    def types(self) -> set[str]:
        return {event["type"] for _, event in self.messages}

    def of(self, tenant_id: UUID, event_type: str = "") -> list[Json]:
        return [
            event
            for _, event in self.messages
            if event["tenantid"] == str(tenant_id) and event["type"].startswith(event_type)
        ]

    async def came(self, *event_types: str, seconds: float = 60.0) -> None:
        async def all_there() -> bool:
            return set(event_types) <= self.types()

        await until(all_there, seconds, f"{set(event_types)} came; so far {sorted(self.types())}")


@pytest.fixture
async def heard(platform: Platform) -> AsyncIterator[Heard]:
    listener = Heard()
    settings = load(NatsSettings, {"NATS_URL": platform.plan.shared["NATS_URL"]})
    async with broker.connect(settings, "test") as client:
        for subject in ("evt.v1.>", "log.v1.>"):
            await client.subscribe(subject, cb=listener.hear)
        await client.flush()
        yield listener


@asynccontextmanager
async def gone() -> AsyncIterator[str]:
    """A receiver that wants nothing any more."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=410)

    application = web.Application()
    application.router.add_post("/hooks", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def streamed(platform: Platform) -> AsyncIterator[list[PlatformEvent]]:
    """What the live stream tells an operator, of the last seconds and as it comes."""
    since = datetime.now(UTC) - timedelta(seconds=60)
    told: list[PlatformEvent] = []

    async def follow() -> None:
        async with AsyncClient(platform.url, platform.operator_key) as operator:
            async for event in operator.follow_events(everywhere=True, since=since):
                told.append(event)  # noqa: PERF401 - while it goes on

    following = asyncio.create_task(follow())
    try:
        yield told
    finally:
        following.cancel()
        await asyncio.wait([following])


async def work_with_documents(tenant: Tenant) -> None:
    await tenant.put("one", "A heron by the river.")
    job = await tenant.put("one", "Two herons by the river.")
    await tenant.search("herons")
    assert job.document_id is not None
    await tenant.client.patch_document(job.document_id, tags=["birds"])
    broken = await tenant.http.post(
        "/api/documents", files={"file": ("broken.pdf", b"%PDF-1.7 of nothing", "application/pdf")}
    )
    await tenant.finished(UUID(broken.json()["job_id"]))
    await tenant.put("long", LONG)
    overtaken = await tenant.client.put_document("long", content=LONG + " more")
    await tenant.client.delete_document(overtaken.document_id)
    await tenant.client.delete_document(job.document_id)


async def work_with_collections(tenant: Tenant) -> None:
    await tenant.client.create_collection("birds")
    await tenant.client.update_collection("birds", title_boost=3.0)
    await tenant.client.delete_collection("birds")


async def work_with_keys(tenant: Tenant) -> None:
    made = await tenant.client.create_key("website", scopes=["search"])
    rotated = await tenant.client.rotate_key(made.api_key.id)
    await tenant.client.revoke_key(rotated.api_key.id)
    signing = await tenant.client.create_signing_key("pages")
    await tenant.client.revoke_tokens(signing.signing_key.id)


async def work_with_tenants(platform: Platform, tenant: Tenant) -> None:
    async with AsyncClient(platform.url, platform.operator_key) as operator:
        await operator.update_tenant(tenant.slug, quotas={"documents": 1})
        async with platform.tenant() as short:
            await operator.delete_tenant(short.slug, grace_seconds=10)
    await tenant.put("fits", "The one that fits.")

    async def refused() -> bool:
        try:
            await tenant.client.create_document(content="One too many.", title="Too many")
        except ApiError:
            return True
        return False

    await until(refused, 20, "the quota is in force")


async def test_everything_that_is_sent_is_as_described(
    platform: Platform, tenant: Tenant, other_tenant: Tenant, heard: Heard
) -> None:
    async with gone() as url, streamed(platform) as live:
        await tenant.client.create_webhook(url, event_types=["collection.*"])
        await work_with_documents(tenant)
        await work_with_collections(tenant)
        await work_with_keys(tenant)
        await work_with_tenants(platform, other_tenant)
        frozen = platform.process("redis")
        frozen.send_signal(signal.SIGSTOP)
        try:
            await heard.came("health.check_failed")
        finally:
            frozen.send_signal(signal.SIGCONT)
        sent = {name for name, kind in EVENT_TYPES.items() if Way.STREAM in kind.ways}
        await heard.came(*(sent - NOT_PROVOKED), seconds=90)

        on_the_bus = [event for _, event in heard.messages if Way.SSE in EVENT_TYPES[event["type"]].ways]

        async def all_live() -> bool:
            return {event["id"] for event in on_the_bus} <= {event.id for event in live}

        await until(all_live, 20, "everything was streamed")

    assert heard.wrong == []
    assert sent >= heard.types()
    ids = {event["id"] for event in on_the_bus}
    told = [(event.id, event.type, event.tenantid, event.data) for event in live if event.id in ids]
    assert told == [(each["id"], each["type"], each["tenantid"], each["data"]) for each in on_the_bus]
    assert sent >= NOT_PROVOKED


async def test_what_the_operator_has_replayed_comes_again_under_its_id(
    platform: Platform, tenant: Tenant, other_tenant: Tenant, heard: Heard
) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=5)
    await tenant.put("one", "A heron by the river.")
    await other_tenant.put("one", "An eagle over the hill.")
    told = {"document.uploaded", "document.indexed", "job.started", "job.completed"}

    async def all_told() -> bool:
        return all({each["type"] for each in heard.of(who.id)} >= told for who in (tenant, other_tenant))

    await until(all_told, 30, "everything is told")
    before = [each["id"] for each in heard.of(tenant.id) if each["type"] in told]
    others = len(heard.of(other_tenant.id))

    async with AsyncClient(platform.url, platform.operator_key) as operator:
        done = await operator.replay_events(
            "indexer", since=begun, until=datetime.now(UTC) + timedelta(seconds=5), tenant=tenant.slug
        )

    async def again() -> bool:
        ids = [each["id"] for each in heard.of(tenant.id) if each["type"] in told]
        return sorted(ids) == sorted(before * 2)

    assert done.events >= len(before) == len(told)
    await until(again, 20, "the events of the tenant came again")
    assert len(heard.of(other_tenant.id)) == others
