"""Where files and extracted texts are kept: a local folder or an S3 bucket, by one small interface.

Each tenant's blobs are below a folder of its own, and whoever works for a tenant has a view of that folder
alone. Only the sweep looks through all of them.

Bodies are streamed in pieces of `PART_BYTES`, so memory does not grow with them. An upload that is aborted,
by an error or by cancellation, leaves nothing behind.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec
import obstore
from obstore.exceptions import BaseError as StoreError
from obstore.store import LocalStore, ObjectStore, S3Store

from quarry_common.errors import NotFoundError, PayloadTooLargeError, UnavailableError
from quarry_common.settings import BlobSettings, SettingsError

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ClientConfig

log = logging.getLogger(__name__)

ROOT: Final = "tenants"
"""The folder of all tenants' folders."""
PART_BYTES: Final = 8 << 20
"""S3 refuses parts below 5 MiB; two of these are held at most for one upload."""
PARTS_IN_FLIGHT: Final = 1
LIST_PAGE: Final = 500
MIB: Final = 1 << 20
_ODD: Final = frozenset({"", ".", ".."})
"""Names in a path that lead elsewhere than it reads."""


class Stored(msgspec.Struct, frozen=True):
    """What was written."""

    path: str
    size_bytes: int
    sha256: str
    """In hex."""


class BlobEntry(msgspec.Struct, frozen=True):
    """A blob as a listing shows it."""

    path: str
    size_bytes: int
    modified_at: datetime


class ForeignBlobError(NotFoundError):
    """The path is not one of the tenant's. Outside it is told like any blob that is missing."""


def folder_of(tenant_id: UUID) -> str:
    """Return the folder of a tenant's blobs."""
    return f"{ROOT}/{tenant_id}"


class BlobStore:
    """The blobs of all tenants, by their path, such as `tenants/<id>/uploads/<uuid>`."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        """Wrap `store`; `folder` is where a local one keeps its files."""
        self._store = store
        self._folder = folder

    def of(self, tenant_id: UUID) -> "TenantBlobs":
        """Return the blobs of one tenant."""
        return TenantBlobs(tenant_id, self._store, self._folder)

    async def list(self, prefix: str) -> AsyncIterator[BlobEntry]:
        """Yield every blob below the folder `prefix`, in no order. Raises `UnavailableError`."""
        with _failures(prefix):
            async for page in obstore.list(self._store, prefix, chunk_size=LIST_PAGE):
                for item in page:
                    yield _entry(item)

    async def delete(self, path: str) -> None:
        """Remove the blob at `path`, whosever it is; a missing one is fine. Raises `UnavailableError`."""
        await _delete(self._store, path)


class TenantBlobs:
    """Puts, gets and deletes the blobs of one tenant.

    Every method that takes a path raises `ForeignBlobError`, before the store is asked, for one that is not
    below the tenant's folder.
    """

    def __init__(self, tenant_id: UUID, store: ObjectStore, folder: Path | None) -> None:
        self._tenant_id = tenant_id
        self._store = store
        self._folder = folder

    def require(self, path: str) -> None:
        """Raise `ForeignBlobError` unless `path` is below the tenant's folder."""
        if path.startswith(f"{folder_of(self._tenant_id)}/") and not _ODD & set(path.split("/")):
            return
        log.error(
            "a blob of another tenant was asked for", extra={"tenant": str(self._tenant_id), "path": path}
        )
        raise ForeignBlobError("There is no such blob.")

    async def put_stream(self, path: str, chunks: AsyncIterable[bytes], *, max_bytes: int) -> Stored:
        """Write `chunks` to `path` and return size and digest.

        Raises `PayloadTooLargeError` beyond `max_bytes`, `UnavailableError` when the store fails, and
        whatever `chunks` raises; then nothing is kept.
        """
        self.require(path)
        counted = _Counted(chunks, max_bytes)
        try:
            with _failures(path):
                await obstore.put_async(
                    self._store, path, counted, chunk_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT
                )
        finally:
            counted.close()
        return Stored(path, counted.size_bytes, counted.digest.hexdigest())

    async def put_text(self, path: str, text: str) -> Stored:
        """Write `text` as UTF-8 to `path`. Raises `UnavailableError` when the store fails."""
        return await self.put_bytes(path, text.encode())

    async def put_bytes(self, path: str, body: bytes) -> Stored:
        """Write a small `body` to `path`. Raises `UnavailableError` when the store fails."""
        self.require(path)
        with _failures(path):
            await obstore.put_async(self._store, path, body, use_multipart=False)
        return Stored(path, len(body), hashlib.sha256(body).hexdigest())

    async def get_text(self, path: str) -> str:
        """Return the UTF-8 text at `path`. Raises `NotFoundError` or `UnavailableError`."""
        self.require(path)
        with _failures(path):
            found = await obstore.get_async(self._store, path)
            return bytes(await found.bytes_async()).decode()

    async def open(self, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """Return the size of the blob at `path` in bytes, and its pieces.

        Raises `NotFoundError` or `UnavailableError`, the latter also while the pieces are read.
        """
        self.require(path)
        with _failures(path):
            found = await obstore.get_async(self._store, path)
        return found.meta["size"], _pieces(path, found)

    async def get_range(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`. Raises `NotFoundError` or `UnavailableError`."""
        self.require(path)
        if start >= end:
            return b""
        with _failures(path):
            return bytes(await obstore.get_range_async(self._store, path, start=start, end=end))

    @asynccontextmanager
    async def local_copy(self, path: str) -> AsyncIterator[Path]:
        """Yield a file with the blob's bytes, to be read only: the store's own file where that is local.

        Raises `NotFoundError` or `UnavailableError`.
        """
        self.require(path)
        if self._folder is not None:
            own = self._folder / path
            if not await asyncio.to_thread(own.is_file):
                raise NotFoundError(f"There is no blob at {path}.")
            yield own
            return
        with tempfile.TemporaryDirectory(prefix="quarry-") as folder:
            copy = Path(folder) / "file"
            await self.fetch(path, copy)
            yield copy

    async def fetch(self, path: str, destination: Path) -> int:
        """Copy the blob at `path` into the file `destination`; return its size in bytes.

        Raises `NotFoundError` or `UnavailableError`; a partial file is removed.
        """
        self.require(path)
        size_bytes = 0
        file = await asyncio.to_thread(destination.open, "wb")
        try:
            with _failures(path):
                found = await obstore.get_async(self._store, path)
                async for chunk in found.stream(min_chunk_size=MIB):
                    await asyncio.to_thread(file.write, chunk)
                    size_bytes += len(chunk)
        except BaseException:
            file.close()
            destination.unlink(missing_ok=True)  # noqa: ASYNC240 - must happen even while cancelled
            raise
        await asyncio.to_thread(file.close)
        return size_bytes

    async def delete(self, path: str) -> None:
        """Remove the blob at `path`; one that is missing is fine. Raises `UnavailableError`."""
        self.require(path)
        await _delete(self._store, path)

    async def first(self, limit: int) -> list[BlobEntry]:
        """Return up to `limit` of the tenant's blobs. Raises `UnavailableError`."""
        found: list[BlobEntry] = []
        folder = folder_of(self._tenant_id)
        with _failures(folder):
            async for page in obstore.list(self._store, folder, chunk_size=min(limit, LIST_PAGE)):
                found += map(_entry, page)
                if len(found) >= limit:
                    break
        return found[:limit]


class _Counted:
    """Chunks on their way into the store.

    The store goes on waiting for the next chunk when its upload is cancelled: `close` ends that.
    """

    def __init__(self, chunks: AsyncIterable[bytes], max_bytes: int) -> None:
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._chunks = aiter(chunks)
        self._max_bytes = max_bytes
        self._next: asyncio.Task[bytes | None] | None = None

    def __aiter__(self) -> "_Counted":
        return self

    async def __anext__(self) -> bytes:
        self._next = asyncio.create_task(self._pull())
        chunk = await self._next
        if chunk is None:
            raise StopAsyncIteration
        self.size_bytes += len(chunk)
        if self.size_bytes > self._max_bytes:
            raise PayloadTooLargeError(f"The file is larger than {self._max_bytes / MIB:g} MiB.")
        self.digest.update(chunk)
        return chunk

    async def _pull(self) -> bytes | None:
        return await anext(self._chunks, None)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()


def open_store(settings: BlobSettings) -> BlobStore:
    """Return the store of `BLOB_URL`; a local folder is made when it is missing.

    S3 takes its credentials, region and endpoint from the usual `AWS_*` variables. Raises `SettingsError`.
    """
    url = urlsplit(settings.blob_url)
    if url.scheme == "file":
        folder = Path(unquote(url.path)).expanduser()
        try:
            # A folder goes with its last blob: there is one for each document.
            store = LocalStore(prefix=folder.absolute(), mkdir=True, automatic_cleanup=True)
            return BlobStore(store, folder.absolute())
        except (OSError, StoreError) as error:
            raise SettingsError(f"BLOB_URL: the folder {folder} cannot be used") from error
    if url.scheme == "s3" and url.netloc:
        return BlobStore(
            S3Store(bucket=url.netloc, prefix=url.path.strip("/") or None, client_options=_tls(settings))
        )
    raise SettingsError(f"BLOB_URL: must be file:PATH or s3://BUCKET/PREFIX (it is {settings.blob_url!r})")


def _tls(settings: BlobSettings) -> "ClientConfig | None":
    if os.environ.get("AWS_ALLOW_INVALID_CERTIFICATES"):
        raise SettingsError(
            "AWS_ALLOW_INVALID_CERTIFICATES would let anybody be the blob store",
            advice="Unset it; name the authority that issued the endpoint's certificate in BLOB_CA_FILE.",
        )
    # Given only when needed: without it the other AWS_* variables about connections count.
    return {"root_certificate": Path(settings.blob_ca_file).read_bytes()} if settings.blob_ca_file else None


def _entry(item: "ObjectMeta") -> BlobEntry:
    return BlobEntry(item["path"], item["size"], item["last_modified"])


async def _delete(store: ObjectStore, path: str) -> None:
    try:
        with _failures(path):
            await obstore.delete_async(store, path)
    except NotFoundError:
        return


async def _pieces(path: str, found: "GetResult") -> AsyncIterator[bytes]:
    with _failures(path):
        async for piece in found.stream(min_chunk_size=MIB):
            yield bytes(piece)


@contextmanager
def _failures(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no blob at {path}.") from error
    except (StoreError, OSError) as error:
        raise UnavailableError("The blob store cannot be used.", retry_after_seconds=5) from error
