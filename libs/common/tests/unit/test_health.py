import asyncio

import msgspec
import pytest

from quarry_common import health as health_module
from quarry_common import ops
from quarry_common.errors import UnavailableError
from quarry_common.health import Health


async def fine() -> None:
    return None


async def test_it_is_ready_while_every_check_passes() -> None:
    async def broken() -> None:
        raise UnavailableError("The bus does not answer.")

    assert await Health({"a": fine, "b": fine}).ready()
    sick = Health({"a": fine, "b": broken})
    assert not await sick.ready()
    results = await sick.results()
    assert (results["a"].ok, results["b"].ok, results["b"].detail) == (
        True,
        False,
        "The bus does not answer.",
    )


async def test_a_stopping_process_is_not_ready() -> None:
    health = Health({"a": fine})
    health.stopping = True

    assert not await health.ready()


async def test_a_check_that_hangs_is_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "CHECK_SECONDS", 0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    assert "no answer within" in (await Health({"a": hang}).results())["a"].detail


async def test_what_a_check_raises_unforeseen_is_not_shown() -> None:
    async def leak() -> None:
        raise ValueError("postgresql://u:hunter2@h")

    assert "hunter2" not in (await Health({"a": leak}).results())["a"].detail


async def test_many_that_ask_at_once_ask_once() -> None:
    asked = []

    async def count() -> None:
        asked.append(1)

    health = Health({"a": count})
    await asyncio.gather(*(health.ready() for _ in range(50)))

    assert len(asked) == 1


async def test_the_pages() -> None:
    health = Health({"a": fine})

    assert await ops.answer("/livez", health) == (200, "application/json", b'{"status":"alive"}')
    ready = await ops.answer("/readyz", health)
    assert ready is not None
    assert ready[0] == 200
    assert msgspec.json.decode(ready[2])["checks"]["a"]["ok"] is True
    metrics = await ops.answer("/metrics", health)
    assert metrics is not None
    assert b"quarry_ready 1.0" in metrics[2]
    assert await ops.answer("/else", health) is None
    health.stopping = True
    stopping = await ops.answer("/readyz", health)
    assert stopping is not None
    assert (stopping[0], msgspec.json.decode(stopping[2])["status"]) == (503, "stopping")
