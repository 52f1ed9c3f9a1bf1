"""Logs of the platform's processes: bounded files that survive whoever reads them."""

import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

LIMIT_BYTES = 10 * 1024 * 1024
KEPT = 2
FOLLOW_SECONDS = 0.3


def rotate(log: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Copy a log that has grown too large to `<name>.1` and empty it; return whether that was done.

    Processes append to their log directly and go on when the supervisor is killed, so the file itself
    has to stay: what is written between the copy and the emptying is lost.
    """
    try:
        if log.stat().st_size <= limit_bytes:
            return False
        for number in range(KEPT, 1, -1):
            older = log.with_name(f"{log.name}.{number - 1}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number}"))
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
    except OSError:
        return False  # a full disk: emptying without a copy would lose the reason
    return True


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log, without their line ends."""
    with log.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def follow(logs: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each new line of the logs for ever, also after they were emptied."""
    places = {log: log.stat().st_size if log.exists() else 0 for log in logs}
    while True:
        quiet = True
        for log in logs:
            if not log.exists():
                continue
            size = log.stat().st_size
            if size < places[log]:
                places[log] = 0
            if size == places[log]:
                continue
            with log.open("rb") as file:
                file.seek(places[log])
                data = file.read()
            complete = data.rfind(b"\n") + 1
            places[log] += complete
            for line in data[:complete].decode("utf-8", "replace").splitlines():
                quiet = False
                yield log, line
        if quiet:
            time.sleep(FOLLOW_SECONDS)
