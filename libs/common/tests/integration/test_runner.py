"""A process of a service, from its start to its end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from quarry_local.ports import free_port

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from quarry_common.errors import UnavailableError
from quarry_common.service import Service, ServiceDefinition, run
from quarry_common.settings import ProcessSettings


class Settings(ProcessSettings):
    behaviour: str


class Part:
    def __init__(self, behaviour):
        self.behaviour = behaviour

    async def run(self, stopping):
        if self.behaviour == "fails":
            raise ValueError("postgresql://u:hunter2@h")
        if self.behaviour == "refuses":
            raise UnavailableError("The probe is not there.", advice="Start the probe.")
        if self.behaviour == "ends":
            return
        await stopping.wait()
        if self.behaviour == "hangs":
            await asyncio.Event().wait()
        if self.behaviour == "fails late":
            raise ValueError("late")
        print("drained", flush=True)


@asynccontextmanager
async def build(settings):
    try:
        yield Service(parts=[Part(settings.behaviour), Part("drains")])
    finally:
        print("closed", flush=True)


sys.exit(run(ServiceDefinition("probe", Settings, build)))
"""


def answer(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def process(behaviour: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    env = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    started = subprocess.Popen(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", PROGRAM],
        env={**env, "BEHAVIOUR": behaviour, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate(timeout=10)


def wait_ready(started: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert time.monotonic() < deadline
        assert started.poll() is None
        try:
            if answer(port, "/readyz") == 200:
                return
        except OSError:
            time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_well(number: signal.Signals) -> None:
    port = free_port()
    with process("drains", OPS_PORT=str(port)) as started:
        wait_ready(started, port)
        assert answer(port, "/livez") == 200
        assert answer(port, "/metrics") == 200
        assert answer(port, "/else") == 404

        started.send_signal(number)
        out, err = started.communicate(timeout=20)

    assert started.returncode == 0
    assert out.splitlines() == ["drained", "drained", "closed"]
    assert [json.loads(text)["message"] for text in err.splitlines()] == ["stopping"]


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("fails", "probe ended by an error"),
        ("refuses", "The probe is not there. Start the probe."),
        ("ends", "probe ended by an error"),
    ],
)
def test_a_part_that_fails_takes_the_process_with_it(behaviour: str, sentence: str) -> None:
    with process(behaviour) as started:
        out, err = started.communicate(timeout=20)

    assert started.returncode == 1
    assert out.splitlines() == ["closed"]
    assert sentence in [json.loads(text)["message"] for text in err.splitlines()]
    assert "hunter2" not in err


def test_a_part_that_fails_while_it_drains_is_told() -> None:
    port = free_port()
    with process("fails late", OPS_PORT=str(port)) as started:
        wait_ready(started, port)
        started.terminate()
        started.communicate(timeout=20)

    assert started.returncode == 1


def test_a_part_that_does_not_finish_is_left_behind_after_the_grace() -> None:
    port = free_port()
    with process("hangs", OPS_PORT=str(port), SHUTDOWN_GRACE_SECONDS="0.3") as started:
        wait_ready(started, port)
        started.terminate()
        out, err = started.communicate(timeout=20)

    assert "did not finish within 0.3 s" in err
    assert out.splitlines() == ["drained", "closed"]


def test_wrong_settings_end_it_with_a_sentence() -> None:
    with process("drains", OPS_PORT="many", LOG_LEVEL="loud") as started:
        _, err = started.communicate(timeout=20)

    assert started.returncode == 2
    assert err.startswith("quarry probe: ")
    assert "OPS_PORT: input should be a valid integer" in err
    assert "LOG_LEVEL: " in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_ends_it_with_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with process("drains", OPS_PORT=str(taken.getsockname()[1])) as started:
            _, err = started.communicate(timeout=20)

    assert started.returncode == 1
    assert "OPS_PORT" in err
    assert "Traceback" not in err
