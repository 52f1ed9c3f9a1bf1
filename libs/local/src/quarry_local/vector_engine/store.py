"""The folder of collections, owned by one process at a time."""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from quarry_local.vector_engine.collection import (
    MANIFEST,
    Collection,
    create_collection,
    open_collection,
)
from quarry_local.vector_engine.errors import (
    AlreadyExistsError,
    NotFoundError,
    StartError,
    WrongInputError,
)
from quarry_local.vector_engine.optimisation.optimiser import Optimiser
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.wire.collections import CreateCollection

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
UNFINISHED = ".unfinished-"
"""Prefix of folders that are being made or removed; they are swept at the next start."""

log = logging.getLogger(__name__)


class Store:
    """The open collections of one folder."""

    def __init__(self, root: Path, settings: OptimiserSettings) -> None:
        self.root = root
        self.folder = root / "collections"
        self.collections: dict[str, Collection] = {}
        self.optimiser = Optimiser(self.collections, settings)

    def open(self) -> None:
        """Open every collection and sweep what an earlier process left half-made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in sorted(self.folder.iterdir()):
            if folder.name.startswith(UNFINISHED) or not (folder / MANIFEST).exists():
                log.info("removing %s, which was not finished", folder)
                shutil.rmtree(folder)
                continue
            collection = open_collection(folder)
            self.collections[collection.name] = collection

    def get(self, name: str) -> Collection:
        """Return an open collection; raises `NotFoundError`."""
        collection = self.collections.get(name)
        if collection is None:
            raise NotFoundError(f"Collection `{name}` doesn't exist!")
        return collection

    def create(self, name: str, settings: CreateCollection) -> None:
        """Create and open a collection: whole, or not at all.

        Raises `AlreadyExistsError`, and `WrongInputError` for a bad name or settings.
        """
        if not NAME.fullmatch(name):
            raise WrongInputError(
                "a collection's name has 1 to 128 letters, digits, dots, hyphens and underscores, "
                "and does not start with a dot"
            )
        final = self.folder / name
        if name in self.collections or final.exists():
            raise AlreadyExistsError(f"Collection `{name}` already exists!")
        draft = self.folder / f"{UNFINISHED}{uuid4()}"
        try:
            create_collection(draft, name, settings)
            draft.rename(final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        self.collections[name] = open_collection(final)

    async def delete(self, name: str) -> bool:
        """Delete a collection after the writes before it; return whether there was one."""
        collection = self.collections.get(name)
        if collection is None:
            return False
        async with collection.writing():
            await collection.record.stop()
            del self.collections[name]
            grave = self.folder / f"{UNFINISHED}{uuid4()}"
            collection.folder.rename(grave)
            collection.close()
        shutil.rmtree(grave)
        return True

    def close(self) -> None:
        """Flush and close every collection."""
        for collection in self.collections.values():
            collection.close()
        self.collections.clear()


@contextmanager
def owned(root: Path) -> Iterator[None]:
    """Hold the folder for this process; raises `StartError` when another one holds it or it is not usable."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartError(f"the folder {root} cannot be used: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise StartError(
                f"the folder {root} belongs to another running vector engine (process {owner}); stop it first"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
