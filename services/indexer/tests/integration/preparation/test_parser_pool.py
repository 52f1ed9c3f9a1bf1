import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from services.indexer.tests.integration.preparation.reading import is_running, settings, take, until

from quarry_indexer.parsing.errors import (
    ParseCrashedError,
    ParseError,
    ParseOutOfMemoryError,
    ParseTimeoutError,
    UnsupportedFormatError,
)
from quarry_indexer.preparation.pool import ParserPool


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    async with ParserPool(settings(PARSER_RECYCLE_DOCUMENTS="3")) as opened:
        yield opened


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note"
    path.write_text("# Note\n\nA few words.\n")
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file whose reading never ends: a pipe that nobody writes to."""
    path = tmp_path / "endless"
    os.mkfifo(path)
    return path


async def test_documents_are_read_and_errors_are_typed(pool: ParserPool, note: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))

    parsed = await take(pool, note, "note.md")
    with pytest.raises(UnsupportedFormatError) as refused:
        await take(pool, image, "image.png")

    assert (parsed.doc_type, parsed.title) == ("markdown", "Note")
    assert "PNG" in refused.value.data.detail


async def test_chunks_come_with_the_text(pool: ParserPool, tmp_path: Path) -> None:
    book = tmp_path / "book"
    book.write_text("# One\n\n" + "A few words. " * 20 + "\n\n# Two\n\nThe last words of the book.\n")

    answer = await take(pool, book, "book.md")

    *_, last = answer.chunks
    assert len(answer.chunks) > 2
    assert answer.text[last.char_start : last.char_end].endswith("The last words of the book.")
    assert last.heading_path == ("Two",)


async def test_many_at_once_wait_for_their_turn(pool: ParserPool, note: Path) -> None:
    answers = await asyncio.gather(*(take(pool, note, "note.md") for _ in range(8)))

    assert {answer.text for answer in answers} == {"# Note\n\nA few words.\n"}


async def test_a_process_is_replaced_after_its_share_of_documents(pool: ParserPool, note: Path) -> None:
    (first,) = pool.process_ids()
    for _ in range(3):
        await take(pool, note, "note.md")
    await take(pool, note, "note.md")

    assert first not in pool.process_ids()
    assert not is_running(first)


async def test_a_hanging_document_is_stopped(note: Path, endless: Path) -> None:
    async with ParserPool(settings(PARSER_TIMEOUT_SECONDS="0.3")) as pool:
        (pid,) = pool.process_ids()
        with pytest.raises(ParseTimeoutError):
            await take(pool, endless, "a.pdf")

        assert not is_running(pid)
        assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_crash_concerns_only_its_document(pool: ParserPool, note: Path, endless: Path) -> None:
    (pid,) = pool.process_ids()
    reading = asyncio.create_task(take(pool, endless, "a.pdf"))
    await until(lambda: not pool.process_ids())
    os.kill(pid, signal.SIGSEGV)

    with pytest.raises(ParseCrashedError, match="SIGSEGV"):
        await reading
    assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_process_killed_while_idle_fails_no_document(pool: ParserPool, note: Path) -> None:
    (pid,) = pool.process_ids()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_running(pid))
    await until(lambda: not Path(f"/proc/{pid}").exists())

    assert (await take(pool, note, "note.md")).title == "Note"


async def test_too_much_memory_ends_the_document_not_the_service(note: Path, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        file.truncate(700_000_000)
    async with ParserPool(settings(PARSER_MEMORY_MB="200")) as pool:
        with pytest.raises(ParseOutOfMemoryError, match="200 MB"):
            await take(pool, huge, "huge.pdf")

        assert (await take(pool, note, "note.md")).title == "Note"


async def test_cancelling_kills_the_process_and_frees_its_place(
    pool: ParserPool, note: Path, endless: Path
) -> None:
    (pid,) = pool.process_ids()
    reading = asyncio.create_task(take(pool, endless, "a.pdf"))
    await until(lambda: not pool.process_ids())
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not is_running(pid)
    assert (await take(pool, note, "note.md")).title == "Note"


async def test_a_file_that_is_gone_is_an_error_of_its_own(pool: ParserPool, tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="FileNotFoundError"):
        await take(pool, tmp_path / "gone", "gone.md")


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
async def test_processes_die_with_their_parent_even_while_reading(endless: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from quarry_indexer.chunking.chunk import ChunkOptions\n"
        "from quarry_indexer.preparation.settings import ParserSettings\n"
        "from quarry_indexer.preparation.pool import ParserPool\n"
        "async def main():\n"
        "    async with ParserPool(ParserSettings(parser_processes=1)) as pool:\n"
        "        print(*pool.process_ids(), flush=True)\n"
        "        async with pool.prepare(Path(sys.argv[1]), 'a.pdf', None, ChunkOptions(), owner='one'):\n"
        "            pass\n"
        "asyncio.run(main())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(endless), stdout=subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    async with asyncio.timeout(30):
        child = int(await parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    await parent.wait()

    await until(lambda: not is_running(child))
