"""What a process needs in order to work, asked once a second at most."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from quarry_common.errors import error_data
from quarry_common.telemetry.metrics import READY

Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises when not."""

CHECK_SECONDS = 2.0
FRESH_SECONDS = 1.0


class CheckResult(msgspec.Struct, frozen=True):
    """How one dependency answered."""

    ok: bool
    latency_ms: float
    detail: str = ""


class Health:
    """The checks of a process. It is ready while all of them pass and it is not stopping."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._results: dict[str, CheckResult] = {}
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self.stopping = False

    async def results(self) -> Mapping[str, CheckResult]:
        """Return how every dependency answered, not longer ago than a second."""
        if time.monotonic() - self._asked_at > FRESH_SECONDS:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            await asyncio.shield(self._asking)
        return self._results

    async def ready(self) -> bool:
        """Whether work may be sent here."""
        fine = not self.stopping and all(result.ok for result in (await self.results()).values())
        READY.set(fine)
        return fine

    async def _ask(self) -> None:
        names = list(self._checks)
        answers = await asyncio.gather(*(_run(self._checks[name]) for name in names))
        self._results = dict(zip(names, answers, strict=True))
        self._asked_at = time.monotonic()


async def _run(check: Check) -> CheckResult:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return CheckResult(False, CHECK_SECONDS * 1000, f"no answer within {CHECK_SECONDS:g} s")
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        return CheckResult(False, (time.perf_counter() - started) * 1000, error_data(error).detail)
    return CheckResult(True, (time.perf_counter() - started) * 1000)
