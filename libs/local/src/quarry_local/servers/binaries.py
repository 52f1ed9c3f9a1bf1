"""Find the servers' programs, and install them from the system's packages when they are missing."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quarry_local.errors import MissingProgramError
from quarry_local.servers.accounts import may_pass, unprivileged_user

INSTALL_SECONDS = 900
POLICY = Path("/usr/sbin/policy-rc.d")
CLUSTER_POLICY = Path("/etc/postgresql-common/createcluster.d/quarry.conf")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program, the packages that bring it and the variable that makes it unnecessary."""

    program: str
    title: str
    apt: str
    brew: str
    variable: str
    units: tuple[str, ...] = ()
    """Services of the system that the package would start at boot."""


POSTGRES = Wanted("postgres", "Postgres", "postgresql", "postgresql@17", "DATABASE_URL")
REDIS = Wanted("redis-server", "Redis", "redis-server", "redis", "REDIS_URL", ("redis-server",))
NATS = Wanted("nats-server", "NATS", "nats-server", "nats-server", "NATS_URL", ("nats-server",))
ALL = (POSTGRES, REDIS, NATS)


def find(wanted: Wanted) -> Path | None:
    """Return the program's path, or None; the newest Postgres wins."""
    for folder in _folders(wanted):
        path = folder / wanted.program
        if path.is_file() and os.access(path, os.X_OK) and _usable(wanted, path):
            return path.resolve() if wanted is POSTGRES else path
    return None


def require(wanted: Wanted) -> Path:
    """Return the program's path; raises `MissingProgramError` with what to install."""
    path = find(wanted)
    if path is None:
        raise missing([wanted])
    return path


def version(path: Path) -> str:
    """Return the version that the program tells of itself, such as `15.18`."""
    said = subprocess.run(  # noqa: S603 - a server's program found by `find`
        [str(path), "--version"], capture_output=True, text=True, timeout=10, check=False
    ).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found.group() if found else ""


def install(absent: Sequence[Wanted], tell: Callable[[str], None]) -> None:
    """Install the programs that are absent, when this user may; `tell` hears of each step.

    Nothing that the packages bring is left running or set to start at boot.
    Raises `MissingProgramError` when it cannot be done, with the command that a person may type.
    """
    if shutil.which("apt-get") and os.geteuid() == 0:
        _install_by_apt(absent, tell)
    elif sys.platform == "darwin" and shutil.which("brew"):
        tell("brew install " + " ".join(each.brew for each in absent))
        _run(["brew", "install", *(each.brew for each in absent)], absent)
    else:
        raise missing(absent)
    still = [each for each in absent if find(each) is None]
    if still:
        raise missing(still)


def missing(absent: Sequence[Wanted], reason: str = "") -> MissingProgramError:
    """Return the error that names what is missing and both ways out."""
    names = " and ".join(each.title for each in absent)
    if sys.platform == "darwin":
        command = "brew install " + " ".join(each.brew for each in absent)
    else:
        command = "sudo apt-get install " + " ".join(each.apt for each in absent)
    variables = " and ".join(each.variable for each in absent)
    return MissingProgramError(
        f"{names} {'is' if len(absent) == 1 else 'are'} not installed{reason}.",
        advice=f"Run `{command}`, or set {variables} to use a server that runs already.",
    )


def _folders(wanted: Wanted) -> list[Path]:
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    if wanted is POSTGRES:
        packaged = [
            *Path("/usr/lib/postgresql").glob("*/bin"),
            *Path("/opt/homebrew/opt").glob("postgresql@*/bin"),
        ]
        folders += sorted(
            packaged, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True
        )
    return [*folders, Path("/usr/sbin"), Path("/usr/local/sbin"), Path("/opt/homebrew/bin")]


def _usable(wanted: Wanted, path: Path) -> bool:
    if wanted is not POSTGRES:
        return True
    real = path.resolve()
    user = unprivileged_user()
    return (real.parent / "initdb").is_file() and (user is None or may_pass(real.parent, user))


def _install_by_apt(absent: Sequence[Wanted], tell: Callable[[str], None]) -> None:
    packages = [each.apt for each in absent]
    tell("apt-get install " + " ".join(packages))
    apt = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=120"]
    _run([*apt, "update"], absent)
    with _nothing_started():
        _run([*apt, "install", "--no-install-recommends", *packages], absent)
    units = [unit for each in absent for unit in each.units]
    if units and shutil.which("systemctl"):
        # Without a running systemd this still removes the links that would start them at boot.
        _try(["systemctl", "disable", *units])


@contextmanager
def _nothing_started() -> Iterator[None]:
    """While packages are installed: no service is started and no Postgres cluster is made."""
    made: list[Path] = []
    for path, text, mode in (
        (POLICY, "#!/bin/sh\nexit 101\n", 0o755),
        (CLUSTER_POLICY, "create_main_cluster = false\n", 0o644),
    ):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
            made.append(path)
    try:
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _run(command: Sequence[str], absent: Sequence[Wanted]) -> None:
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed package managers
            command, env=environ, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise missing(absent, f", and installing failed ({error})") from None
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise missing(absent, f", and installing failed ({' '.join(lines[-2:])[-400:]})")


def _try(command: Sequence[str]) -> None:
    subprocess.run(command, capture_output=True, timeout=30, check=False)  # noqa: S603 - fixed command


def main() -> int:
    """Install what tests need and this machine lacks: `python -m quarry_local.servers.binaries`."""
    absent = [each for each in ALL if find(each) is None]
    try:
        if absent and os.environ.get("TEST_SERVERS") != "containers":
            install(absent, print)
    except MissingProgramError as error:
        sys.stderr.write(f"Error: {error.data.detail}\n{error.data.advice}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
