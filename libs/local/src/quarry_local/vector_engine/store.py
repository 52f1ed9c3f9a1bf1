"""The folder of collections, owned by one engine at a time."""

import asyncio
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

import psutil

from quarry_local.vector_engine.children import to_its_end
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
LEFTOVER_SECONDS = 10.0
LEFTOVER_POLL_SECONDS = 0.02

log = logging.getLogger(__name__)


class Store:
    """The open collections of one folder. `lock` is the open file by which the folder is held."""

    def __init__(self, root: Path, settings: OptimiserSettings, lock: int | None = None) -> None:
        self.root = root
        self.folder = root / "collections"
        self.collections: dict[str, Collection] = {}
        self.lost = asyncio.Event()
        """Set when the process that holds a collection's shard has died: nothing can go on without it."""
        self.optimiser = Optimiser(self.collections, settings)
        self._kept = () if lock is None else (lock,)
        self._creating = asyncio.Lock()

    async def open(self) -> None:
        """Open every collection and sweep what an earlier process left half-made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in sorted(self.folder.iterdir()):
            if folder.name.startswith(UNFINISHED) or not (folder / MANIFEST).exists():
                log.info("removing %s, which was not finished", folder)
                shutil.rmtree(folder)
                continue
            self._add(await open_collection(folder, self._kept))

    def _add(self, collection: Collection) -> None:
        def lose() -> None:
            log.error("the process that holds the shard of %s has died", collection.name)
            self.lost.set()

        collection.on_lost = lose
        self.collections[collection.name] = collection

    def get(self, name: str) -> Collection:
        """Return an open collection; raises `NotFoundError`."""
        collection = self.collections.get(name)
        if collection is None:
            raise NotFoundError(f"Collection `{name}` doesn't exist!")
        return collection

    async def create(self, name: str, settings: CreateCollection) -> None:
        """Create and open a collection: whole, or not at all.

        Raises `AlreadyExistsError`, `WrongInputError` for a bad name and `RemoteError` for bad settings.
        """
        if not NAME.fullmatch(name):
            raise WrongInputError(
                "a collection's name has 1 to 128 letters, digits, dots, hyphens and underscores, "
                "and does not start with a dot"
            )
        await to_its_end(self._create(name, settings))

    async def _create(self, name: str, settings: CreateCollection) -> None:
        final = self.folder / name
        async with self._creating:
            if name in self.collections or final.exists():
                raise AlreadyExistsError(f"Collection `{name}` already exists!")
            draft = self.folder / f"{UNFINISHED}{uuid4()}"
            try:
                self._add(await create_collection(draft, final, name, settings, self._kept))
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise

    async def delete(self, name: str) -> bool:
        """Delete a collection after the writes before it; return whether there was one."""
        collection = self.collections.get(name)
        if collection is None:
            return False
        async with collection.writing():
            await to_its_end(self._delete(collection))
        return True

    async def _delete(self, collection: Collection) -> None:
        await collection.record.stop()
        del self.collections[collection.name]
        grave = self.folder / f"{UNFINISHED}{uuid4()}"
        collection.folder.rename(grave)
        await collection.abandon()
        shutil.rmtree(grave)

    async def close(self) -> None:
        """Flush and close every collection."""
        await asyncio.gather(*(collection.close() for collection in self.collections.values()))
        self.collections.clear()


@contextmanager
def owned(root: Path) -> Iterator[int]:
    """Hold the folder and yield the open file by which it is held, until that is closed in every process.

    Raises `StartError` when another engine holds it or it is not usable. One that has died may have left
    processes that are about to end: they are waited for.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartError(f"the folder {root} cannot be used: {error.strerror}") from None
    with file:
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while not _locked(file):
            file.seek(0)
            owner = file.read().strip()
            if _lives(owner) or time.monotonic() > deadline:
                raise StartError(
                    f"the folder {root} belongs to another running vector engine (process "
                    f"{owner or 'unknown'}); stop it first"
                )
            time.sleep(LEFTOVER_POLL_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lives(owner: str) -> bool:
    try:
        return int(owner) != os.getpid() and psutil.Process(int(owner)).status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False
