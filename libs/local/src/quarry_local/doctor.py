"""The checks of `quarry doctor`: what this machine has, lacks, and what to do about it."""

import codecs
import locale
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from quarry_common.settings import SettingsError, value_of
from quarry_local.errors import LocalError
from quarry_local.layout import Layout
from quarry_local.plan import http_port, needed
from quarry_local.ports import holder, is_free
from quarry_local.servers import binaries
from quarry_local.servers.accounts import may_pass, unprivileged_user
from quarry_local.state import load_state

LEAST_DISK_BYTES = 2 * 2**30
LEAST_MEMORY_BYTES = 2 * 2**30
OLDEST = {"postgres": (14,), "redis-server": (6, 2), "nats-server": (2, 9)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` may also stand beside a finding that is no obstacle."""

    subject: str
    ok: bool
    detail: str
    advice: str = ""


def examine(layout: Layout, environ: Mapping[str, str]) -> list[Finding]:
    """Return every finding, good and bad. Starts and changes nothing."""
    return [
        *_programs(environ),
        *_reachability(environ),
        _port(layout, environ),
        _disk(layout),
        _permissions(layout),
        _memory(),
        _locale(),
        _platform(layout),
    ]


def _programs(environ: Mapping[str, str]) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), python)
    for wanted in needed(environ):
        path = binaries.find(wanted)
        if path is None:
            error = binaries.missing([wanted])
            yield Finding(wanted.program, False, error.data.detail, error.data.advice)
            continue
        version = binaries.version(path)
        oldest = OLDEST[wanted.program]
        recent = tuple(int(part) for part in version.split(".")) >= oldest
        advice = "" if recent else f"Install {wanted.title} {'.'.join(map(str, oldest))} or later."
        yield Finding(wanted.program, recent, f"{version} at {path}", advice)


def _reachability(environ: Mapping[str, str]) -> Iterator[Finding]:
    for variable in ("DATABASE_URL", "REDIS_URL", "NATS_URL", "QDRANT_URL"):
        if not value_of(variable, environ):
            continue
        # It loads the clients of all servers; a start of the platform does without.
        from quarry_local.reach import refusal  # noqa: PLC0415

        why = refusal(variable, environ)
        if why is None:
            yield Finding(variable, True, "answers")
            continue
        mend = f"Start that server, correct {variable}, or unset it to have one started here."
        advice = why.data.advice if isinstance(why, SettingsError) else mend
        yield Finding(variable, False, why.data.detail, advice)


def _port(layout: Layout, environ: Mapping[str, str]) -> Finding:
    try:
        port = http_port(environ)
    except LocalError as error:
        return Finding("port", False, error.data.detail, error.data.advice)
    state = load_state(layout.state)
    if state.supervisor_process() is not None and state.http_port == port:
        return Finding("port", True, f"{port} is ours")
    if is_free(port):
        return Finding("port", True, f"{port} is free")
    by = holder(port)
    return Finding(
        "port",
        False,
        f"{port} is in use{f' by {by}' if by else ''}",
        "End that process, or take another port: `HTTP_PORT=8081 make up`.",
    )


def _disk(layout: Layout) -> Finding:
    folder = next(part for part in (layout.var, *layout.var.parents) if part.exists())
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_DISK_BYTES
    advice = "" if enough else "Free some space, or name a folder on another disk in QUARRY_VAR."
    return Finding("disk", enough, f"{free / 2**30:.1f} GB free for {layout.var}", advice)


def _permissions(layout: Layout) -> Finding:
    folder = next(part for part in (layout.var, *layout.var.parents) if part.exists())
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "permissions",
            False,
            f"{folder} cannot be written by this user",
            "Work from a folder of your own, or name one in QUARRY_VAR.",
        )
    try:
        user = unprivileged_user()
    except LocalError as error:
        return Finding("permissions", False, error.data.detail, error.data.advice)
    if user and not may_pass(layout.var, user):
        return Finding(
            "permissions",
            True,
            f"`{user}` may not walk down to {layout.var}; Postgres's data is in /var/lib/quarry-*",
        )
    return Finding("permissions", True, f"{layout.var} can be written")


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    enough = free >= LEAST_MEMORY_BYTES
    return Finding(
        "memory",
        enough,
        f"{free / 2**30:.1f} GB available",
        "" if enough else "End other programs; 2 GB are needed.",
    )


def _locale() -> Finding:
    encoding = codecs.lookup(locale.getpreferredencoding(False)).name
    utf8 = encoding == "utf-8"
    return Finding(
        "locale", utf8, encoding, "" if utf8 else "Set LANG=C.UTF-8, so that names print as they are."
    )


def _platform(layout: Layout) -> Finding:
    state = load_state(layout.state)
    if state.supervisor_process() is None:
        return Finding("platform", True, "does not run", "`quarry up` starts it.")
    unready = [
        f"{each.name} ({each.detail or each.state})"
        for each in state.processes.values()
        if each.state != "ready"
    ]
    if unready:
        return Finding("platform", False, f"not ready: {', '.join(unready)}", "`quarry logs NAME` tells why.")
    return Finding("platform", True, f"runs at {state.url}")
