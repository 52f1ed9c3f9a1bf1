"""When a collection is due, what a journal holds, and how folders are copied."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer

import pytest

from quarry_common.settings import load
from quarry_local.vector_engine.errors import WrongInputError
from quarry_local.vector_engine.optimisation import files, run
from quarry_local.vector_engine.optimisation.files import CopyStoppedError, copy_folder, size_bytes
from quarry_local.vector_engine.optimisation.journal import Journal
from quarry_local.vector_engine.optimisation.optimiser import due
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.shards.frames import Answer, Changes, Question
from quarry_local.vector_engine.shards.schemas import edge_config, single_threaded_config
from quarry_local.vector_engine.store import Store
from quarry_local.vector_engine.wire.collections import CreateCollection, HnswConfig, OptimizersConfig

MB = 1024 * 1024


def applied(points: int) -> Answer:
    return Answer(b"{}", None, Changes(points))


def refused(points: int) -> Answer:
    return Answer(b"", WrongInputError("no").data, Changes(points))


def settings(**environ: str) -> OptimiserSettings:
    return load(OptimiserSettings, environ)


@pytest.mark.parametrize(
    ("points", "changes", "expected"),
    [
        (10_000, Changes(4_999), False),
        (10_000, Changes(5_000), True),
        (100_000, Changes(9_999), False),
        (100_000, Changes(10_000), True),
        (10_000, Changes(1_000, 999), False),
        (10_000, Changes(1_000, 1_000), True),
        (100_000, Changes(4_999, 4_999), False),
        (100_000, Changes(5_000, 5_000), True),
        (0, Changes(), False),
    ],
)
def test_a_collection_is_due_when_a_number_and_a_share_have_changed(
    points: int, changes: Changes, expected: bool
) -> None:
    assert due(settings(), changes, points) is expected


def test_a_journal_gives_back_its_writes_in_order() -> None:
    journal = Journal(max_points=100, max_bytes=100)
    journal.add(Question("upsert", b"{}"), applied(2))
    journal.add(Question("delete"), refused(3))

    first, second, third = journal.next(), journal.next(), journal.next()

    assert first is not None
    assert second is not None
    assert (first.question, first.points, first.refused) == (Question("upsert", b"{}"), 2, False)
    assert (second.question, second.points, second.refused) == (Question("delete"), 3, True)
    assert third is None
    assert journal.writes == 2
    assert journal.changes == Changes(5, 0)


@pytest.mark.parametrize("points", [0, 1])
def test_a_journal_over_its_points_is_full_and_empty_and_stays_so(points: int) -> None:
    journal = Journal(max_points=2, max_bytes=100)
    for _ in range(2):
        journal.add(Question("upsert"), applied(points))
    assert not journal.full.is_set()

    journal.add(Question("upsert"), applied(points))
    journal.add(Question("upsert"), applied(points))

    assert journal.full.is_set()
    assert len(journal) == 0


def test_a_journal_over_its_bytes_is_full() -> None:
    journal = Journal(max_points=100, max_bytes=100)
    journal.add(Question("upsert", b" " * 100), applied(1))
    assert not journal.full.is_set()

    journal.add(Question("upsert", b" "), applied(1))

    assert journal.full.is_set()


def test_what_was_replayed_no_longer_counts_for_a_journal() -> None:
    journal = Journal(max_points=2, max_bytes=100)
    for _ in range(10):
        journal.add(Question("upsert"), applied(2))
        journal.next()

    assert not journal.full.is_set()


def test_a_folder_is_copied_with_its_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "deep").mkdir(parents=True)
    with (source / "deep" / "file").open("wb") as file:
        file.write(b"start")
        file.seek(64 * MB)
        file.write(b"middle")
        file.truncate(128 * MB)
    (source / "empty").write_bytes(b"")

    copy_folder(source, target, 60.0, Event())

    copy = target / "deep" / "file"
    assert copy.stat().st_size == 128 * MB
    assert copy.read_bytes() == (source / "deep" / "file").read_bytes()
    assert (target / "empty").read_bytes() == b""
    assert size_bytes(target) < MB


def test_a_copy_stops_when_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(MB))
    monkeypatch.setattr(files, "STEP_BYTES", 1)  # a million steps
    stop = Event()
    timer = Timer(0.05, stop.set)
    timer.start()

    with pytest.raises(CopyStoppedError):
        copy_folder(source, tmp_path / "b", 60.0, stop)
    timer.join()


@pytest.mark.parametrize("lack", ["disk", "memory", "child"])
async def test_a_run_without_room_or_child_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    store = Store(tmp_path, settings())
    await store.open()
    await store.create("c", CreateCollection(vectors={"size": 2, "distance": "Dot"}))
    collection = store.get("c")
    collection.record.changes.add(Changes(points=7, deleted=3))
    if lack == "disk":
        monkeypatch.setattr(run, "free_bytes", lambda folder: run.ROOM_BYTES - 1)
    elif lack == "child":
        monkeypatch.setattr(run, "CHILD", "quarry_local.no_such_module")
    else:
        small = run.psutil.virtual_memory()._replace(available=1)  # type: ignore[attr-defined]
        monkeypatch.setattr("psutil.virtual_memory", lambda: small)

    report = await store.optimiser.ended(store.optimiser.start(collection))

    assert report.result == lack
    assert collection.record.changes == Changes(points=7, deleted=3)
    assert [path.name for path in collection.folder.glob("shard*")] == ["shard"]
    await store.close()


async def test_after_a_run_that_was_given_up_the_collection_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"VECTOR_OPTIMISE_CHECK_SECONDS": "0.001", "VECTOR_OPTIMISE_CHANGED_POINTS": "1"}
    store = Store(tmp_path, settings(**environ))
    await store.open()
    await store.create("c", CreateCollection(vectors={"size": 2, "distance": "Dot"}))
    record = store.get("c").record
    record.changes.add(Changes(points=7))
    monkeypatch.setattr(run, "free_bytes", lambda folder: 0)

    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await store.optimiser.watch()

    assert record.results == {"disk": 1}
    await store.close()


def test_the_child_has_one_thread_and_everything_else_as_it_was_set() -> None:
    source = CreateCollection(
        vectors={"dense": {"size": 4, "distance": "Dot", "hnsw_config": {"m": 4, "max_indexing_threads": 8}}},
        hnsw_config=HnswConfig(m=0, payload_m=8, ef_construct=50),
        optimizers_config=OptimizersConfig(indexing_threshold=7),
    )

    usual, single = edge_config(source), single_threaded_config(source)

    assert single.hnsw_config is not None
    assert usual.hnsw_config is not None
    assert (single.hnsw_config.max_indexing_threads, usual.hnsw_config.max_indexing_threads) == (1, 0)
    dense = single.vectors["dense"].hnsw_config
    assert dense is not None
    assert (dense.m, dense.max_indexing_threads) == (4, 1)
    assert single.optimizers is not None
    assert single.optimizers.indexing_threshold == 7
    for name in ("m", "payload_m", "ef_construct", "full_scan_threshold", "on_disk"):
        assert getattr(single.hnsw_config, name) == getattr(usual.hnsw_config, name)
