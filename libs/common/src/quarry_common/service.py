"""The runner: what a service is, and how a process of it starts, works, drains and ends."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from typing import Any, Protocol, cast

import uvloop

from quarry_common import garbage, ops
from quarry_common.errors import QuarryError
from quarry_common.health import Check, Health
from quarry_common.settings import ProcessSettings, SettingsError, load
from quarry_common.telemetry import logging as json_logging
from quarry_common.telemetry import metrics, tracing

log = logging.getLogger(__name__)

ENTRY_POINTS = "quarry.services"


class Part(Protocol):
    """Something that works as long as the process does: a consumer, a relay, an HTTP server."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what was begun and return."""


@dataclass(frozen=True)
class Service:
    """A service put together: its working parts, and what it needs in order to be ready."""

    parts: Sequence[Part]
    checks: Mapping[str, Check] = field(default_factory=dict)
    health: Health | None = None
    """Given when a part shares it (the gateway shows it over HTTP); made from `checks` otherwise."""


@dataclass(frozen=True)
class ServiceDefinition:
    """What the platform knows of a service before it runs.

    `build` is the composition root: it opens what the service needs, yields the service, and closes all.
    """

    name: str
    settings: type[ProcessSettings]
    build: Callable[[Any], AbstractAsyncContextManager[Service]]
    migrations: Traversable | None = None
    """Folder of numbered SQL files, for a service that has a schema."""


def definitions() -> dict[str, ServiceDefinition]:
    """Return every installed service by name."""
    found = entry_points(group=ENTRY_POINTS)
    return {
        entry.name: cast(ServiceDefinition, entry.load()) for entry in sorted(found, key=lambda e: e.name)
    }


def run(definition: ServiceDefinition) -> int:
    """Run one service until a signal or a failure ends it; return the process's exit code."""
    try:
        settings = load(definition.settings)
    except SettingsError as error:
        sys.stderr.write(f"quarry {definition.name}: {error.data.detail} {error.data.advice}\n")
        return 2
    json_logging.start(definition.name, settings.log_level)
    metrics.start(definition.name)
    provider = tracing.start(settings, definition.name)
    try:
        return uvloop.run(_main(definition, settings))
    finally:
        if provider is not None:
            provider.shutdown()


async def _main(definition: ServiceDefinition, settings: ProcessSettings) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        async with definition.build(settings) as service:
            garbage.look_seldom()
            await serve(service, settings, stopping)
    except Exception as error:
        for leaf in _leaves(error):
            if isinstance(leaf, QuarryError):
                log.error("%s %s", leaf.data.detail, leaf.data.advice, extra={"code": leaf.data.code})  # noqa: TRY400
            else:
                log.error("%s ended by an error", definition.name, exc_info=leaf)  # noqa: TRY400
        return 1
    return 0


async def serve(service: Service, settings: ProcessSettings, stopping: asyncio.Event) -> None:
    """Work until `stopping` is set; a part that ends before that takes the others with it and is raised."""
    health = service.health or Health(service.checks)
    pages = ops.server(settings, health)
    page_task = asyncio.create_task(pages.serve())
    try:
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(_work(part, stopping)) for part in service.parts]
            await stopping.wait()
            health.stopping = True
            log.info("stopping")
            _, late = (
                await asyncio.wait(parts, timeout=settings.shutdown_grace_seconds) if parts else ((), ())
            )
            for task in late:
                log.warning("a part did not finish within %g s", settings.shutdown_grace_seconds)
                task.cancel()
    finally:
        pages.stop()
        await asyncio.wait([page_task], timeout=2)


async def _work(part: Part, stopping: asyncio.Event) -> None:
    await part.run(stopping)
    if not stopping.is_set():
        raise RuntimeError(f"{type(part).__name__} ended before it was asked to")


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
