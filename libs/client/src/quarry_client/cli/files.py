"""Finds the files to ingest and the id that each goes by."""

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

import click
import msgspec

_VERSION_CONTROL: Final = frozenset({"CVS", "RCS", "SCCS", "_darcs"})
"""Folders of version control whose names do not begin with a dot."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file and its external id: its path below the folder that was named, with slashes."""

    path: Path
    external_id: str
    in_folder: bool = False
    """Whether it was found below a folder, and not named itself."""


def find_files(
    paths: Iterable[Path], include: Sequence[str] = (), exclude: Sequence[str] = (), prefix: str = ""
) -> list[SourceFile]:
    """Return the files at and below `paths`, in order.

    Hidden files and folders, version control and links to folders are left out below a named folder; a
    file named itself is always taken. Raises click.UsageError when two files would go by one id.
    """
    found: dict[str, SourceFile] = {}
    for path in paths:
        for file, relative in _below(path, include, exclude):
            source = SourceFile(file, prefix + _as_text(relative), in_folder=file != path)
            other = found.setdefault(source.external_id, source)
            if other.path.resolve() != file.resolve():
                raise click.UsageError(
                    f"{other.path} and {file} would both go by the id {source.external_id!r}. "
                    "Ingest the folder above both, or one after the other with different --prefix."
                )
    return list(found.values())


def _below(
    path: Path, include: Sequence[str], exclude: Sequence[str]
) -> Iterator[tuple[Path, PurePosixPath]]:
    if not path.is_dir():
        yield path, PurePosixPath(path.name)
        return
    for folder, folder_names, file_names in os.walk(path):
        at = Path(folder)
        folder_names[:] = sorted(
            name for name in folder_names if _wanted_folder(name, (at / name).relative_to(path), exclude)
        )
        for name in sorted(file_names):
            relative = PurePosixPath((at / name).relative_to(path).as_posix())
            if not name.startswith(".") and _wanted(relative, include, exclude) and (at / name).is_file():
                yield at / name, relative


def _wanted_folder(name: str, relative: Path, exclude: Sequence[str]) -> bool:
    if name.startswith(".") or name in _VERSION_CONTROL:
        return False
    return not _matches(PurePosixPath(relative.as_posix()), exclude)


def _wanted(relative: PurePosixPath, include: Sequence[str], exclude: Sequence[str]) -> bool:
    return (not include or _matches(relative, include)) and not _matches(relative, exclude)


def _matches(relative: PurePosixPath, globs: Sequence[str]) -> bool:
    """A glob may speak of the whole path or of the name alone; `*` also spans slashes."""
    return any(fnmatch(str(relative), glob) or fnmatch(relative.name, glob) for glob in globs)


def _as_text(relative: PurePosixPath) -> str:
    """A file name is bytes on many systems; what is not UTF-8 in it is written as `\\xNN`."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace")
