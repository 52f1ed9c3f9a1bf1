"""Searches over HTTP, sent by wrk, with what they cost each process."""

import os
import resource
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from benchmarks.usage import OWN, Meter
from tests.platform import Platform, Tenant

from quarry_local.errors import MissingProgramError
from quarry_local.servers import binaries
from quarry_local.servers.binaries import Wanted

WRK: Final = Wanted("wrk", "wrk, the load generator", "wrk", "wrk", "PATH")
SCRIPT: Final = Path(__file__).with_name("search.lua")
GENERATOR: Final = "wrk"

Tell = Callable[[str], None]


class Load(msgspec.Struct, frozen=True):
    """What wrk tells."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def per_second(self) -> float:
        """Requests answered in a second."""
        return self.requests / self.seconds


class Round(msgspec.Struct, frozen=True):
    """One measurement."""

    load: Load
    cpu_ms_per_request: dict[str, float]
    load_average: float


class Rounds(msgspec.Struct, frozen=True):
    """All rounds of one kind of load; medians."""

    name: str
    clients: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms_per_request: dict[str, float]
    rounds: list[Round]

    @property
    def platform_cpu_ms(self) -> float:
        """CPU of a request in all processes of the platform."""
        return sum(value for name, value in self.cpu_ms_per_request.items() if name != GENERATOR)


def wrk(tell: Tell) -> Path:
    """Return the load generator, installed when it is missing; raises `MissingProgramError`."""
    try:
        if binaries.find(WRK) is None:
            binaries.install([WRK], tell)
        return binaries.require(WRK)
    except MissingProgramError as error:
        advice = "Install the package `wrk`, or leave searches out: `python -m benchmarks ingest`."
        raise MissingProgramError(error.data.detail, advice=advice) from None


class Sender:
    """Sends searches of `tenants` in turn, each once over all runs unless they are to be repeated."""

    def __init__(
        self,
        program: Path,
        platform: Platform,
        tenants: Sequence[Tenant],
        bodies: Sequence[bytes],
        *,
        repeated: bool = False,
    ) -> None:
        self._program = program
        self._platform = platform
        self._count = len(bodies)
        self._repeated = repeated
        self._sent = 0
        self._file = platform.layout.var / f"searches-{id(self)}.txt"
        self._file.write_bytes(
            b"\n".join(
                tenants[number % len(tenants)].key.encode() + b"\t" + body
                for number, body in enumerate(bodies)
            )
        )
        self._file.chmod(0o600)

    def send_all(self, clients: int) -> None:
        """Send every search once at least."""
        while self._sent < self._count:
            self.send(clients, 1)

    def send(self, clients: int, seconds: float) -> Round:
        """Send for `seconds` over `clients` connections; raises RuntimeError unless all were answered."""
        command = [str(self._program), "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "10s"]
        command += ["-s", str(SCRIPT), f"{self._platform.url}/api/search", "--", str(self._file)]
        meter, generator = Meter(self._platform.state), _children_seconds()
        done = subprocess.run(
            [*command, str(self._sent)],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
        used = meter.seconds() | {GENERATOR: _children_seconds() - generator}
        load = msgspec.json.decode(done.stderr.strip().splitlines()[-1], type=Load)
        self._sent += load.requests + clients
        if load.refused or load.broken or not load.requests:
            raise RuntimeError(f"not every search was answered: {load}")
        if self._sent > self._count and not self._repeated:
            raise RuntimeError(
                f"more than {self._count} searches: one would be sent twice; ask for fewer seconds"
            )
        per_request = {name: value / load.requests * 1000 for name, value in used.items() if name != OWN}
        return Round(load, per_request, os.getloadavg()[0])


def summary(name: str, clients: int, rounds: list[Round]) -> Rounds:
    """Return medians of `rounds`."""

    def middle(value: Callable[[Load], float]) -> float:
        return median(value(each.load) for each in rounds)

    return Rounds(
        name=name,
        clients=clients,
        requests_per_second=middle(lambda load: load.per_second),
        p50_ms=middle(lambda load: load.p50_ms),
        p95_ms=middle(lambda load: load.p95_ms),
        p99_ms=middle(lambda load: load.p99_ms),
        cpu_ms_per_request={
            process: median([each.cpu_ms_per_request[process] for each in rounds])
            for process in rounds[0].cpu_ms_per_request
        },
        rounds=rounds,
    )


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
