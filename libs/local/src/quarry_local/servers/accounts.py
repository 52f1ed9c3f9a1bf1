"""Accounts and folders for programs that refuse to run as root."""

import grp
import hashlib
import os
import pwd
import shutil
from pathlib import Path

from quarry_local.errors import LocalError

CANDIDATES = ("postgres", "nobody")


def unprivileged_user() -> str | None:
    """Return the account for programs that refuse root, or None when this process is not root."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise LocalError(
        "Postgres refuses to run as root, and there is no account `postgres` or `nobody` to run it as.",
        advice="Create one (`useradd --system postgres`), or work as an ordinary user.",
    )


def group_of(user: str) -> str:
    """Return the name of the account's own group."""
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def may_pass(folder: Path, user: str) -> bool:
    """Return whether the account may walk down to `folder`: every existing part must let it through."""
    account = pwd.getpwnam(user)
    for part in [folder, *folder.parents]:
        if not part.exists():
            continue
        facts = part.stat()
        if facts.st_uid == account.pw_uid:
            allowed = facts.st_mode & 0o100
        elif facts.st_gid == account.pw_gid:
            allowed = facts.st_mode & 0o010
        else:
            allowed = facts.st_mode & 0o001
        if not allowed:
            return False
    return True


def folder_for(wanted: Path, user: str | None) -> Path:
    """Return where `wanted` really lives: there, or in /var/lib when the account may not walk down to it.

    A clone in /root (mode 0700) is the common case: its data folder becomes a link to
    `/var/lib/quarry-<hash of the path>/<name>`, so that it is found, and removed, from the clone.
    """
    if wanted.is_symlink():
        return wanted.readlink()
    if user is None or may_pass(wanted, user):
        return wanted
    name = hashlib.sha256(str(wanted.parent).encode()).hexdigest()[:12]
    real = Path("/var/lib") / f"quarry-{name}" / wanted.name
    real.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.symlink_to(real)
    return real


def remove_folder(folder: Path) -> None:
    """Remove a folder made by `folder_for`, wherever it really lives; harmless when there is none."""
    real = folder.readlink() if folder.is_symlink() else folder
    shutil.rmtree(real, ignore_errors=True)
    if folder.is_symlink():
        folder.unlink()
        if not any(real.parent.iterdir()):
            real.parent.rmdir()


def own(folder: Path, user: str | None, mode: int = 0o700) -> None:
    """Make the folder if needed and give it to the account."""
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None and folder.stat().st_uid != pwd.getpwnam(user).pw_uid:
        shutil.chown(folder, user, group_of(user))
    if folder.stat().st_mode & 0o777 != mode:
        folder.chmod(mode)
