import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quarry_common.blobs import BlobStore, open_store
from quarry_common.errors import NotFoundError, PayloadTooLargeError, UnavailableError
from quarry_common.settings import BlobSettings, SettingsError

UPLOAD = "tenants/0192/uploads/one"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(folder: Path) -> BlobStore:
    return open_store(BlobSettings(blob_url=f"file:{folder}"))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_stream_is_stored_with_its_size_and_digest(store: BlobStore, folder: Path) -> None:
    stored = await store.put_stream(UPLOAD, pieces(b"first ", b"second"), max_bytes=100)

    assert stored.size_bytes == 12
    assert stored.sha256 == hashlib.sha256(b"first second").hexdigest()
    assert (folder / UPLOAD).read_bytes() == b"first second"


async def test_an_empty_stream_is_an_empty_blob(store: BlobStore) -> None:
    stored = await store.put_stream(UPLOAD, pieces(), max_bytes=100)

    assert stored.size_bytes == 0
    assert await store.get_text(UPLOAD) == ""


async def test_a_stream_beyond_the_limit_is_refused_and_leaves_nothing(
    store: BlobStore, folder: Path
) -> None:
    with pytest.raises(PayloadTooLargeError):
        await store.put_stream(UPLOAD, pieces(*[b"x" * 1_000_000] * 20), max_bytes=15_000_000)

    assert files(folder) == []


async def test_a_stream_that_breaks_leaves_nothing_and_its_error_is_raised(
    store: BlobStore, folder: Path
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 20_000_000
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await store.put_stream(UPLOAD, broken(), max_bytes=1 << 30)

    assert files(folder) == []


async def test_a_cancelled_upload_leaves_nothing(store: BlobStore, folder: Path) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 20_000_000
        begun.set()
        await never.wait()

    upload = asyncio.create_task(store.put_stream(UPLOAD, stuck(), max_bytes=1 << 30))
    await asyncio.wait_for(begun.wait(), 5)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload

    async with asyncio.timeout(5):
        while files(folder):
            await asyncio.sleep(0.01)


async def test_text_comes_back_as_it_was(store: BlobStore) -> None:
    await store.put_text(UPLOAD, "naïve 検索\r\n")

    assert await store.get_text(UPLOAD) == "naïve 検索\r\n"


async def test_a_blob_is_fetched_into_a_file(store: BlobStore, tmp_path: Path) -> None:
    body = bytes(range(256)) * 20_000
    await store.put_stream(UPLOAD, pieces(body), max_bytes=len(body))

    size_bytes = await store.fetch(UPLOAD, tmp_path / "local")

    assert size_bytes == len(body)
    assert (tmp_path / "local").read_bytes() == body


async def test_a_missing_blob_is_told_and_leaves_no_file(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await store.fetch("tenants/none", tmp_path / "local")

    assert not (tmp_path / "local").exists()


async def test_deleting_twice_is_fine(store: BlobStore) -> None:
    await store.put_text(UPLOAD, "x")

    await store.delete(UPLOAD)
    await store.delete(UPLOAD)

    with pytest.raises(NotFoundError):
        await store.get_text(UPLOAD)


async def test_a_listing_holds_what_is_below_a_prefix(store: BlobStore) -> None:
    await store.put_text("tenants/a/uploads/1", "one")
    await store.put_text("tenants/a/texts/2", "four")
    await store.put_text("tenants/ab/uploads/3", "x")

    found = {entry.path: entry.size_bytes async for entry in store.list("tenants/a")}

    assert found == {"tenants/a/uploads/1": 3, "tenants/a/texts/2": 4}


async def test_a_store_that_cannot_be_written_is_unavailable(store: BlobStore, folder: Path) -> None:
    (folder / "tenants").write_text("a file where a folder is needed")

    with pytest.raises(UnavailableError):
        await store.put_text(UPLOAD, "x")


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "var/blobs"])
def test_an_address_of_no_known_kind_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="BLOB_URL"):
        open_store(BlobSettings(blob_url=url))


async def test_the_first_blobs_of_a_folder_are_told_of_and_no_more(store: BlobStore) -> None:
    for number in range(5):
        await store.put_bytes(f"tenants/a/texts/{number}/1.txt", b"text")
    await store.put_bytes("tenants/ab/texts/1.txt", b"another tenant's")

    some, more = await store.first("tenants/a", 3), await store.first("tenants/a", 10)

    assert len(some) == 3
    assert {entry.path for entry in more} == {f"tenants/a/texts/{number}/1.txt" for number in range(5)}
    assert {entry.size_bytes for entry in more} == {4}
    assert await store.first("tenants/nobody", 10) == []


async def test_a_folder_goes_with_its_last_blob(store: BlobStore, folder: Path) -> None:
    await store.put_bytes("tenants/a/texts/1/1.txt", b"text")
    await store.put_bytes("tenants/a/texts/1/2.txt", b"text")

    await store.delete("tenants/a/texts/1/1.txt")
    assert (folder / "tenants/a/texts/1").exists()
    await store.delete("tenants/a/texts/1/2.txt")

    assert not (folder / "tenants").exists()
    await store.put_bytes("tenants/a/texts/1/1.txt", b"text again")
