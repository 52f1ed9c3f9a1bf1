"""What is done for a tenant reaches no blob of another, whatever path it is given."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from quarry_common.blobs import BlobStore, ForeignBlobError, open_store, tenant_folder
from quarry_common.ids import new_id
from quarry_common.settings import BlobSettings

OWN, OTHER = new_id(), new_id()
THEIRS = f"{tenant_folder(OTHER)}/text"


async def _copied(store: BlobStore, path: str) -> None:
    async with store.local_copy(path):
        pass


async def _bytes() -> AsyncIterator[bytes]:
    yield b"x"


WAYS: dict[str, Callable[[BlobStore, str], Awaitable[object]]] = {
    "open": lambda store, path: store.open(path),
    "get_text": lambda store, path: store.get_text(path),
    "get_range": lambda store, path: store.get_range(path, 0, 1),
    "local_copy": _copied,
    "fetch": lambda store, path: store.fetch(path, Path("/nowhere")),
    "put_text": lambda store, path: store.put_text(path, "x"),
    "put_bytes": lambda store, path: store.put_bytes(path, b"x"),
    "put_stream": lambda store, path: store.put_stream(path, _bytes(), max_bytes=9),
    "delete": lambda store, path: store.delete(path),
    "first": lambda store, path: store.first(path, 1),
}


@pytest.fixture
async def store(tmp_path: Path) -> BlobStore:
    made = open_store(BlobSettings(blob_url=f"file:{tmp_path}"))
    await made.put_text(THEIRS, "theirs")
    return made


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "path",
    [THEIRS, f"{tenant_folder(OWN)}/../{OTHER}/text", "text", f"{tenant_folder(OWN)}x/text", ""],
)
async def test_a_path_of_another_is_refused(
    store: BlobStore, way: Callable[[BlobStore, str], Awaitable[object]], path: str, tmp_path: Path
) -> None:
    with pytest.raises(ForeignBlobError):
        await way(store.of(OWN), path)

    assert await store.get_text(THEIRS) == "theirs"
    assert [each.name for each in tmp_path.iterdir()] == ["tenants"]


async def test_a_tenant_reaches_its_own(store: BlobStore) -> None:
    path = f"{tenant_folder(OWN)}/text"

    await store.of(OWN).put_text(path, "own")

    assert await store.of(OWN).get_text(path) == "own"
    await store.of(OWN).delete(path)
    assert await store.first(tenant_folder(OWN), 9) == []
