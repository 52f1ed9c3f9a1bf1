from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from quarry_local.layout import Layout
from quarry_local.minding import Board, mind, record_of
from quarry_local.ports import free_port
from quarry_local.servers import nats, postgres, redis, vector_engine
from quarry_local.servers.launch import run_to_ready, stop, wait_until
from quarry_local.servers.program import Program
from quarry_local.state import Identity, load_state
from quarry_local.supervisor import AlreadyRunningError, adopt, only_one, stop_leftovers


@pytest.fixture
def layout(server_folder: Path, request: pytest.FixtureRequest) -> Layout:
    made = Layout(server_folder / request.node.name.replace("[", "-").rstrip("]"))
    made.make()
    return made


@pytest.fixture
def board(layout: Layout) -> Iterator[Board]:
    board = Board(layout)
    yield board
    board.stopping.set()
    for thread in board.threads:
        thread.join(timeout=10)
    stop_leftovers(board.state, "server", lambda _: None)
    for child in board.children:
        child.wait(timeout=10)


def make(kind: str, layout: Layout) -> Program:
    port = free_port()
    if kind == "postgres":
        return postgres.program(layout.var / "postgres", port, "pw", "quarry", durable=False)
    if kind == "redis":
        return redis.program(layout.var / "redis", port, "pw")
    if kind == "nats":
        return nats.program(layout.var / "nats", port, "pw")
    return vector_engine.program(layout.var / "vectors", port)


def watch(board: Board, program: Program) -> psutil.Process:
    board.change(processes={program.name: record_of(program, "server")})
    mind(board, program, None)
    return await_ready(board, program.name)


def await_ready(board: Board, name: str, other_than: int = 0) -> psutil.Process:
    def why() -> str:
        record = board.state.processes[name]
        fresh = record.identity is not None and record.identity.pid != other_than
        return "" if record.state == "ready" and fresh else f"{record.state}: {record.detail}"

    wait_until(why, 60, name)
    identity = board.state.processes[name].identity
    assert identity is not None
    return psutil.Process(identity.pid)


@pytest.mark.parametrize("kind", ["postgres", "redis", "nats", "vector-engine"])
def test_a_killed_server_is_started_again_and_ready(kind: str, board: Board, layout: Layout) -> None:
    program = make(kind, layout)
    first = watch(board, program)

    first.kill()

    second = await_ready(board, program.name, other_than=first.pid)
    assert program.ready() == ""
    record = load_state(layout.state).processes[program.name]
    assert record.restarts >= 1
    assert record.identity == Identity.of(second, program.argv)


def test_a_server_left_by_a_killed_supervisor_is_adopted(board: Board, layout: Layout) -> None:
    program = make("redis", layout)
    before = watch(board, program)

    adopted = adopt([program], load_state(layout.state), lambda _: None)

    assert adopted["redis"].pid == before.pid


def test_a_server_that_would_be_started_otherwise_now_is_stopped(board: Board, layout: Layout) -> None:
    before = run_to_ready(make("redis", layout), layout.log("redis"), die_with_parent=True)
    program = make("redis", layout)
    identity = Identity.of(psutil.Process(before.pid), ("redis-server", "elsewhere"))
    board.change(processes={"redis": record_of(program, "server")})
    board.record("redis", identity=identity)

    assert adopt([program], board.state, lambda _: None) == {}

    assert before.wait(timeout=10) is not None


def test_a_later_process_with_the_same_pid_is_left_alone(board: Board, layout: Layout) -> None:
    program = make("redis", layout)
    stranger = run_to_ready(program, layout.log("redis"), die_with_parent=True)
    real = Identity.of(psutil.Process(stranger.pid), program.argv)
    board.change(processes={"redis": record_of(program, "server")})
    board.record("redis", identity=Identity(real.pid, real.started - 60, real.argv))

    stop_leftovers(board.state, "server", lambda _: None)

    assert stranger.poll() is None
    stop(program, psutil.Process(stranger.pid))
    stranger.wait(timeout=5)


def test_only_one_supervisor_holds_an_installation(layout: Layout) -> None:
    with only_one(layout), pytest.raises(AlreadyRunningError), only_one(layout):
        pass
