"""Where the platform of one machine keeps its things: everything is under one folder, `var/`."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The places under `var/`."""

    var: Path

    @property
    def state(self) -> Path:
        """What runs: written by the supervisor, read by everybody."""
        return self.var / "platform.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.var / "platform.lock"

    @property
    def secrets(self) -> Path:
        """Passwords made at first start."""
        return self.var / "secrets.json"

    @property
    def credentials(self) -> Path:
        """What a person needs to use the API."""
        return self.var / "credentials.json"

    @property
    def blobs(self) -> Path:
        """Original files and extracted texts."""
        return self.var / "blobs"

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.var / "log" / f"{name}.log"

    def make(self) -> None:
        """Make the folders. Postgres's account must be able to walk through `var/`, but not to list it."""
        self.var.mkdir(parents=True, exist_ok=True)
        self.var.chmod(0o711)
        for folder in (self.var / "log", self.blobs):
            folder.mkdir(mode=0o700, exist_ok=True)


def find_layout() -> Layout:
    """Return the layout of QUARRY_VAR, else of the clone that this package was installed from."""
    if given := os.environ.get("QUARRY_VAR"):
        return Layout(Path(given).absolute())
    return Layout(project_root() / "var")


def project_root() -> Path:
    """Return the clone that this package runs from, else the current folder."""
    clone = Path(__file__).resolve().parents[4]
    return clone if (clone / "requirements.lock").is_file() else Path.cwd()


def write_private(path: Path, data: bytes) -> None:
    """Replace the file in one step; only its owner may ever read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
