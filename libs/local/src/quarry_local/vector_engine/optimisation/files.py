"""Folders of the engine library: copied, measured, written to the disk, read into the page cache."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import Event

STEP_BYTES = 8 * 1024 * 1024
"""Bytes between two looks at the clock."""

MAPPED_WHOLE_BYTES = 8 * 1024 * 1024
"""Files up to this size the library maps whole when it opens them, holes as well."""

_BLOCK_BYTES = 512  # the unit of st_blocks


class CopyStoppedError(Exception):
    """The copy took too long, or was told to stop."""


def copy_folder(source: Path, target: Path, seconds: float, stop: Event) -> None:
    """Copy a folder, holes as holes: the library makes files much larger than what is in them.

    Raises `CopyStoppedError` after `seconds` or when `stop` is set, and leaves a part of the copy.
    """
    deadline = time.monotonic() + seconds

    def check() -> None:
        if stop.is_set() or time.monotonic() > deadline:
            raise CopyStoppedError

    def copy_file(from_: str, to: str) -> str:
        check()
        with Path(from_).open("rb", buffering=0) as reader, Path(to).open("wb", buffering=0) as writer:
            size = os.fstat(reader.fileno()).st_size
            writer.truncate(size)
            for start, end in _extents(reader.fileno(), size):
                for offset in range(start, end, STEP_BYTES):
                    _copy_range(reader.fileno(), writer.fileno(), offset, min(STEP_BYTES, end - offset))
                    check()
        return to

    shutil.copytree(source, target, copy_function=copy_file)


def _extents(file: int, size: int) -> list[tuple[int, int]]:
    """Return where in the file there is data."""
    extents: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole up to the end
            break
        end = os.lseek(file, start, os.SEEK_HOLE)
        extents.append((start, end))
    return extents


def _copy_range(reader: int, writer: int, offset: int, count: int) -> None:
    while count:
        data = os.pread(reader, count, offset)
        if not data:
            raise CopyStoppedError
        written = os.pwrite(writer, data, offset)
        offset, count = offset + written, count - written


def size_bytes(folder: Path) -> int:
    """Return what the files under `folder` take on the disk."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a flush replaces files at any time
            total += path.lstat().st_blocks * _BLOCK_BYTES
    return total


def free_bytes(folder: Path) -> int:
    """Return what an ordinary process may still write to the disk of `folder`."""
    return shutil.disk_usage(folder).free


def sync(folder: Path) -> None:
    """Write the files under `folder` and its folders' entries to the disk."""
    for path in (folder, *folder.rglob("*")):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def warm(folder: Path) -> None:
    """Read the files under `folder` into the page cache: who opens them need not wait for the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                whole = size <= MAPPED_WHOLE_BYTES
                for start, end in [(0, size)] if whole else _extents(file.fileno(), size):
                    for offset in range(start, end, STEP_BYTES):
                        os.pread(file.fileno(), min(STEP_BYTES, end - offset), offset)
