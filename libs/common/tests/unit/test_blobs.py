import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from quarry_common.blobs import BlobStore, ForeignBlobError, TenantBlobs, open_store
from quarry_common.errors import NotFoundError, PayloadTooLargeError, UnavailableError
from quarry_common.settings import BlobSettings, SettingsError

TENANT, OTHER = UUID(int=0x192), UUID(int=0x193)
UPLOAD = f"tenants/{TENANT}/uploads/one"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(folder: Path) -> BlobStore:
    return open_store(BlobSettings(blob_url=f"file:{folder}"))


@pytest.fixture
def blobs(store: BlobStore) -> TenantBlobs:
    return store.of(TENANT)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_stream_is_stored_with_its_size_and_digest(blobs: TenantBlobs, folder: Path) -> None:
    stored = await blobs.put_stream(UPLOAD, pieces(b"first ", b"second"), max_bytes=100)

    assert stored.size_bytes == 12
    assert stored.sha256 == hashlib.sha256(b"first second").hexdigest()
    assert (folder / UPLOAD).read_bytes() == b"first second"


async def test_an_empty_stream_is_an_empty_blob(blobs: TenantBlobs) -> None:
    stored = await blobs.put_stream(UPLOAD, pieces(), max_bytes=100)

    assert stored.size_bytes == 0
    assert await blobs.get_text(UPLOAD) == ""


async def test_a_stream_beyond_the_limit_is_refused_and_leaves_nothing(
    blobs: TenantBlobs, folder: Path
) -> None:
    with pytest.raises(PayloadTooLargeError):
        await blobs.put_stream(UPLOAD, pieces(*[b"x" * 1_000_000] * 20), max_bytes=15_000_000)

    assert files(folder) == []


async def test_a_stream_that_breaks_leaves_nothing_and_its_error_is_raised(
    blobs: TenantBlobs, folder: Path
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 20_000_000
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await blobs.put_stream(UPLOAD, broken(), max_bytes=1 << 30)

    assert files(folder) == []


async def test_a_cancelled_upload_leaves_nothing(blobs: TenantBlobs, folder: Path) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 20_000_000
        begun.set()
        await never.wait()

    upload = asyncio.create_task(blobs.put_stream(UPLOAD, stuck(), max_bytes=1 << 30))
    await asyncio.wait_for(begun.wait(), 5)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload

    async with asyncio.timeout(5):
        while files(folder):
            await asyncio.sleep(0.01)


async def test_text_comes_back_as_it_was(blobs: TenantBlobs) -> None:
    await blobs.put_text(UPLOAD, "naïve 検索\r\n")

    assert await blobs.get_text(UPLOAD) == "naïve 検索\r\n"


async def test_a_blob_is_fetched_into_a_file(blobs: TenantBlobs, tmp_path: Path) -> None:
    body = bytes(range(256)) * 20_000
    await blobs.put_stream(UPLOAD, pieces(body), max_bytes=len(body))

    size_bytes = await blobs.fetch(UPLOAD, tmp_path / "local")

    assert size_bytes == len(body)
    assert (tmp_path / "local").read_bytes() == body


async def test_a_missing_blob_is_told_and_leaves_no_file(blobs: TenantBlobs, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await blobs.fetch(f"tenants/{TENANT}/none", tmp_path / "local")

    assert not (tmp_path / "local").exists()


async def test_deleting_twice_is_fine(blobs: TenantBlobs) -> None:
    await blobs.put_text(UPLOAD, "x")

    await blobs.delete(UPLOAD)
    await blobs.delete(UPLOAD)

    with pytest.raises(NotFoundError):
        await blobs.get_text(UPLOAD)


async def test_a_listing_holds_what_is_below_a_prefix(store: BlobStore) -> None:
    mine = [f"tenants/{TENANT}/uploads/1", f"tenants/{TENANT}/texts/2"]
    for path in mine:
        await store.of(TENANT).put_text(path, "four")
    await store.of(OTHER).put_text(f"tenants/{OTHER}/uploads/3", "x")

    found = {entry.path: entry.size_bytes async for entry in store.list(f"tenants/{TENANT}")}
    everything = {entry.path async for entry in store.list("tenants")}

    assert found == dict.fromkeys(mine, 4)
    assert everything == {*mine, f"tenants/{OTHER}/uploads/3"}


async def test_a_store_that_cannot_be_written_is_unavailable(blobs: TenantBlobs, folder: Path) -> None:
    (folder / "tenants").write_text("a file where a folder is needed")

    with pytest.raises(UnavailableError):
        await blobs.put_text(UPLOAD, "x")


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "var/blobs"])
def test_an_address_of_no_known_kind_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="BLOB_URL"):
        open_store(BlobSettings(blob_url=url))


async def test_the_first_blobs_of_a_tenant_are_told_of_and_no_more(store: BlobStore) -> None:
    paths = {f"tenants/{TENANT}/texts/{number}/1.txt" for number in range(5)}
    for path in paths:
        await store.of(TENANT).put_bytes(path, b"text")
    await store.of(OTHER).put_bytes(f"tenants/{OTHER}/texts/1.txt", b"another tenant's")

    some, more = await store.of(TENANT).first(3), await store.of(TENANT).first(10)

    assert len(some) == 3
    assert {entry.path for entry in more} == paths
    assert {entry.size_bytes for entry in more} == {4}
    assert await store.of(UUID(int=1)).first(10) == []


async def test_the_sweep_removes_a_blob_whosever_it_is(store: BlobStore, blobs: TenantBlobs) -> None:
    await blobs.put_text(UPLOAD, "x")

    await store.delete(UPLOAD)
    await store.delete(UPLOAD)

    assert await blobs.first(1) == []


FOREIGN = {
    "of another tenant": f"tenants/{OTHER}/uploads/one",
    "by way of the own folder": f"tenants/{TENANT}/../{OTHER}/uploads/one",
    "with an empty name": f"tenants/{TENANT}//one",
    "the own folder": f"tenants/{TENANT}",
    "a folder that begins alike": f"tenants/{TENANT}0/one",
    "of nobody": "one",
    "outside the store": f"/tenants/{TENANT}/one",
    "nothing": "",
}
ASKED: dict[str, Callable[[TenantBlobs, str, Path], Awaitable[object]]] = {
    "put_stream": lambda blobs, path, _: blobs.put_stream(path, pieces(b"x"), max_bytes=9),
    "put_text": lambda blobs, path, _: blobs.put_text(path, "x"),
    "put_bytes": lambda blobs, path, _: blobs.put_bytes(path, b"x"),
    "get_text": lambda blobs, path, _: blobs.get_text(path),
    "open": lambda blobs, path, _: blobs.open(path),
    "get_range": lambda blobs, path, _: blobs.get_range(path, 0, 1),
    "an empty range": lambda blobs, path, _: blobs.get_range(path, 1, 1),
    "local_copy": lambda blobs, path, _: blobs.local_copy(path).__aenter__(),
    "fetch": lambda blobs, path, to: blobs.fetch(path, to),
    "delete": lambda blobs, path, _: blobs.delete(path),
}


@pytest.mark.parametrize("path", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
async def test_a_tenants_view_refuses_what_is_not_its_own(
    ask: Callable[[TenantBlobs, str, Path], Awaitable[object]],
    path: str,
    store: BlobStore,
    folder: Path,
    tmp_path: Path,
) -> None:
    await store.of(OTHER).put_text(f"tenants/{OTHER}/uploads/one", "theirs")

    with pytest.raises(ForeignBlobError):
        await ask(store.of(TENANT), path, tmp_path / "local")

    assert [file.read_text() for file in files(folder)] == ["theirs"]
    assert not (tmp_path / "local").exists()


async def test_a_folder_goes_with_its_last_blob(blobs: TenantBlobs, folder: Path) -> None:
    await blobs.put_bytes(f"tenants/{TENANT}/texts/1/1.txt", b"text")
    await blobs.put_bytes(f"tenants/{TENANT}/texts/1/2.txt", b"text")

    await blobs.delete(f"tenants/{TENANT}/texts/1/1.txt")
    assert (folder / f"tenants/{TENANT}/texts/1").exists()
    await blobs.delete(f"tenants/{TENANT}/texts/1/2.txt")

    assert not (folder / "tenants").exists()
    await blobs.put_bytes(f"tenants/{TENANT}/texts/1/1.txt", b"text again")
