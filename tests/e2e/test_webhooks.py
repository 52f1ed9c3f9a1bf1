"""What happens in a tenant reaches its endpoints: from a document sent to a receiver that verifies."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from statistics import median

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError
from tests.platform import Platform, Tenant, until

LATENCY_EVENTS = 30


class Receiver:
    """An endpoint on this machine that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes, float]] = []
        self.status = 200
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, body, time.time()))
        return web.Response(status=self.status)

    def types(self) -> list[str]:
        """Return the types of what came, in order."""
        return [json.loads(body)["type"] for _, body, _ in self.got]

    async def came(self, count: int, seconds: float = 30.0) -> None:
        """Return when so much has come."""

        async def enough() -> bool:
            return len(self.got) >= count

        await until(enough, seconds, f"{count} deliveries came")


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    made = Receiver()
    application = web.Application()
    application.router.add_post("/hooks", made.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    try:
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver_of_hooks() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def test_a_document_is_told_of_and_each_delivery_verifies(
    tenant: Tenant, other_tenant: Tenant, receiver_of_hooks: Receiver
) -> None:
    hooks = receiver_of_hooks
    made = await tenant.client.create_webhook(hooks.url, event_types=["document.*", "job.completed"])
    await other_tenant.put("theirs", "Nothing that is told to others.")
    job = await tenant.put("one", "A heron by the river.")

    await hooks.came(3)

    assert sorted(hooks.types()) == ["document.indexed", "document.uploaded", "job.completed"]
    verifier = Webhook(made.secret)
    for headers, body, _ in hooks.got:
        told = verifier.verify(body, headers)
        assert told["tenant_id"] == str(tenant.id)
        assert headers["webhook-id"] == told["id"]
        assert "heron" not in body.decode()
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body + b" ", headers)
    assert str(job.document_id) in hooks.got[0][1].decode()


async def test_both_secrets_sign_during_a_rotation(tenant: Tenant, receiver_of_hooks: Receiver) -> None:
    hooks = receiver_of_hooks
    old = await tenant.client.create_webhook(hooks.url)
    new = await tenant.client.rotate_webhook_secret(old.endpoint.id)
    await tenant.client.send_webhook_test(old.endpoint.id)

    await hooks.came(1)

    headers, body, _ = hooks.got[0]
    for secret in (old.secret, new.secret):
        Webhook(secret).verify(body, headers)


async def test_what_failed_is_redelivered_and_all_is_in_the_log(
    tenant: Tenant, receiver_of_hooks: Receiver
) -> None:
    hooks = receiver_of_hooks
    hooks.status = 500
    made = await tenant.client.create_webhook(hooks.url, event_types=["collection.updated"])
    test = await tenant.client.send_webhook_test(made.endpoint.id)
    await hooks.came(1)
    hooks.status = 200

    await tenant.client.redeliver(made.endpoint.id, test.id)

    async def delivered() -> bool:
        detail = await tenant.client.get_delivery(made.endpoint.id, test.id)
        return detail.delivery.state == "delivered"

    await until(delivered, 20, "the delivery is made")
    detail = await tenant.client.get_delivery(made.endpoint.id, test.id)
    assert [attempt.status for attempt in detail.attempts] == [200, 500]
    assert len({headers["webhook-id"] for headers, _, _ in hooks.got}) == 1


async def test_a_killed_service_delivers_what_came_meanwhile(
    platform: Platform, tenant: Tenant, receiver_of_hooks: Receiver
) -> None:
    hooks = receiver_of_hooks
    await tenant.client.create_webhook(hooks.url, event_types=["document.uploaded"])
    killed = platform.process("webhooks")
    killed.kill()
    for number in range(5):
        await tenant.put(f"document-{number}", f"Text {number}.")

    await hooks.came(5, 60)

    subjects = {json.loads(body)["subject"] for _, body, _ in hooks.got}
    assert len(subjects) == 5
    assert platform.process("webhooks") != killed
    await platform.all_ready(60)


async def test_from_a_commit_to_the_receiver(
    tenant: Tenant, receiver_of_hooks: Receiver, record_property: Callable[[str, object], None]
) -> None:
    """The time is told, and not asserted."""
    hooks = receiver_of_hooks
    await tenant.client.create_webhook(hooks.url, event_types=["collection.updated"])
    await tenant.client.create_collection("changing")
    for number in range(LATENCY_EVENTS):
        await tenant.client.update_collection("changing", title_boost=2.0 + number / 100)
        await hooks.came(number + 1)
        await asyncio.sleep(0.02)

    times = sorted((at - _seconds(json.loads(body)["timestamp"])) * 1000 for _, body, at in hooks.got)
    record_property("commit_to_receiver_p50_ms", round(median(times), 1))
    record_property("commit_to_receiver_p95_ms", round(times[int(len(times) * 0.95)], 1))
    print(f"from commit to receiver: p50 {median(times):.1f} ms, p95 {times[int(len(times) * 0.95)]:.1f} ms")
    assert len(times) == LATENCY_EVENTS


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
