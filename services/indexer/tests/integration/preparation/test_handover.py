import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from services.indexer.tests.integration.preparation.reading import (
    SMALL,
    is_running,
    settings,
    take,
    until,
)

from quarry_common.errors import UnavailableError
from quarry_indexer.chunking.chunk import ChunkOptions
from quarry_indexer.parsing.errors import ParseCrashedError, ParseError, ParseTimeoutError
from quarry_indexer.preparation.pool import ParserPool

PARAGRAPH = "Ein Absatz über 検索 mit \U0001f600 und ein paar Wörtern mehr. "


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    async with ParserPool(settings()) as opened:
        yield opened


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of several megabytes and thousands of chunks: more than pipe and reader hold."""
    path = tmp_path / "book"
    path.write_text("".join(f"# Part {n}\n\n{PARAGRAPH * 200}\n\n" for n in range(100)))
    return path


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note"
    path.write_text("# Note\n\nA few words.\n")
    return path


def asked(pool: ParserPool, path: Path, *, owner: str = "one") -> "asyncio.Task[None]":
    """Read a file and stay in its context until cancelled."""

    async def stay() -> None:
        async with pool.prepare(path, "a.md", None, SMALL, owner=owner):
            await asyncio.Event().wait()

    return asyncio.create_task(stay())


async def take_and(pool: ParserPool, path: Path, act: Callable[[], object]) -> None:
    """Read a file, and act after each piece of its text."""
    async with pool.prepare(path, "book.md", None, SMALL, owner="one") as document:
        async for _ in document.text():
            act()


async def test_text_and_chunks_come_in_pieces_and_fit_together(pool: ParserPool, book: Path) -> None:
    taken = await take(pool, book, "book.md")

    encoded = taken.text.encode()
    assert taken.text == book.read_text()
    assert [chunk.ordinal for chunk in taken.chunks] == list(range(len(taken.chunks)))
    assert len(taken.chunks) > 2 * 1000
    for chunk in taken.chunks:
        passage = taken.text[chunk.char_start : chunk.char_end]
        assert encoded[chunk.byte_start : chunk.byte_end].decode() == passage


async def test_chunks_alone_may_be_taken(pool: ParserPool, book: Path) -> None:
    async with pool.prepare(book, "book.md", None, SMALL, owner="one") as document:
        chunks = [chunk async for page in document.chunks() for chunk in page]

    assert len(chunks) == document.chunk_count
    assert pool.process_ids()


async def test_the_process_waits_until_the_text_is_taken(pool: ParserPool, book: Path) -> None:
    async with pool.prepare(book, "book.md", None, SMALL, owner="one") as document:
        pieces = aiter(document.text())
        first = await anext(pieces)

        assert 0 < len(first) < document.text_bytes
        assert not pool.process_ids()
        rest = [piece async for piece in pieces]
        _ = [page async for page in document.chunks()]
    assert len(first) + sum(map(len, rest)) == document.text_bytes


@pytest.mark.parametrize("error", [RuntimeError("the store is gone"), asyncio.CancelledError()])
async def test_leaving_early_kills_the_process_and_frees_its_place(
    pool: ParserPool, book: Path, note: Path, error: BaseException
) -> None:
    (pid,) = pool.process_ids()

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await take_and(pool, book, fail)

    assert not is_running(pid)
    assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_process_that_dies_while_it_hands_over_is_a_crash(
    pool: ParserPool, book: Path, note: Path
) -> None:
    (pid,) = pool.process_ids()

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSEGV)

    with pytest.raises(ParseCrashedError, match="SIGSEGV") as crash:
        await take_and(pool, book, kill)

    assert crash.value.killed_child
    assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_process_that_stalls_while_it_hands_over_is_killed(book: Path, note: Path) -> None:
    async with ParserPool(settings(PARSER_TIMEOUT_SECONDS="5")) as pool:
        (pid,) = pool.process_ids()
        with pytest.raises(ParseTimeoutError):
            await take_and(pool, book, lambda: os.kill(pid, signal.SIGSTOP))

        assert not is_running(pid)
        assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_consumer_that_stalls_is_stopped_and_its_place_is_free(book: Path, note: Path) -> None:
    async with ParserPool(settings(), take_seconds=0.3) as pool:
        (pid,) = pool.process_ids()
        with pytest.raises(UnavailableError, match=r"0\.3 s"):
            async with pool.prepare(book, "book.md", None, SMALL, owner="one"):
                await asyncio.Event().wait()

        assert not is_running(pid)
        assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_timeout_of_the_consumer_is_its_own(pool: ParserPool, book: Path) -> None:
    with pytest.raises(TimeoutError):
        async with pool.prepare(book, "book.md", None, SMALL, owner="one"):
            raise TimeoutError


async def test_another_owner_does_not_wait_for_a_slow_file(pool: ParserPool, book: Path, note: Path) -> None:
    slow = [asked(pool, book, owner="slow") for _ in range(3)]
    await until(lambda: not pool.process_ids())

    assert (await take(pool, note, "note.md", owner="other")).title == "Note"
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_never_more_than_one_process_beyond_the_count(pool: ParserPool, book: Path, note: Path) -> None:
    slow = asked(pool, book, owner="slow")
    await until(lambda: not pool.process_ids())
    await take(pool, note, "note.md", owner="two")
    beyond = pool.process_ids()
    for owner in ("two", "three", "four"):
        await take(pool, note, "note.md", owner=owner)

    assert len(beyond) == 1
    assert pool.process_ids() == beyond  # it is used again, not started each time
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def test_a_turn_alone_starts_no_process_too_many(pool: ParserPool, book: Path, note: Path) -> None:
    slow = asked(pool, book, owner="slow")
    await until(lambda: not pool.process_ids())
    await take(pool, note, "note.md", owner="two")
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await asyncio.gather(*(take(pool, note, "note.md", owner=owner) for owner in ("two", "three")))
    assert len(pool.process_ids()) == 2

    async with pool.prepare(note, "note.md", None, SMALL, owner="one", alone=True):
        assert len(pool.process_ids()) == 1


async def test_alone_means_a_fresh_process(pool: ParserPool, note: Path) -> None:
    before = pool.process_ids()

    async with pool.prepare(note, "note.md", None, SMALL, owner="one", alone=True) as document:
        assert document.title == "Note"
        assert pool.process_ids() == before


async def test_alone_means_that_no_other_is_read(pool: ParserPool, book: Path, note: Path) -> None:
    slow = asked(pool, book, owner="slow")
    await until(lambda: not pool.process_ids())
    alone = asyncio.create_task(take(pool, note, "note.md", owner="two", alone=True))
    held_back = asyncio.create_task(take(pool, note, "note.md", owner="three"))
    done, _ = await asyncio.wait({alone, held_back}, timeout=3)
    assert not done

    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)

    assert (await alone).title == (await held_back).title == "Note"


async def test_a_second_try_alone_reads_the_file_that_died_of_its_neighbour(
    pool: ParserPool, note: Path, tmp_path: Path
) -> None:
    endless = tmp_path / "endless"
    os.mkfifo(endless)
    (pid,) = pool.process_ids()
    reading = asyncio.create_task(take(pool, endless, "a.pdf"))
    await until(lambda: not pool.process_ids())
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ParseError) as killed:
        await reading
    assert killed.value.killed_child

    assert (await take(pool, note, "note.md", alone=True)).title == "Note"


async def test_the_file_may_be_read_only_and_stays_as_it_is(pool: ParserPool, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    file = folder / "blob"
    file.write_text("Kept as it is.\n")
    file.chmod(0o400)
    folder.chmod(0o500)
    before = file.stat()
    try:
        assert (await take(pool, file, "a.txt")).text == "Kept as it is.\n"
    finally:
        folder.chmod(0o700)

    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [path.name for path in folder.iterdir()] == ["blob"]


async def test_a_process_that_grew_is_not_used_again(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_text("A few words of a longer text.\n" * 300_000)
    async with ParserPool(settings(PARSER_MEMORY_MB="256")) as pool:
        (pid,) = pool.process_ids()
        async with pool.prepare(large, "a.txt", None, ChunkOptions(), owner="one") as document:
            _ = [page async for page in document.chunks()]

        assert pid not in pool.process_ids()
