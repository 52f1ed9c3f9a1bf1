"""`quarry up, down, status, logs, doctor, credentials`."""

import functools
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
from rich.console import Console

from quarry_client.errors import ClientError
from quarry_common.errors import QuarryError
from quarry_common.settings import value_of
from quarry_local import doctor as checks
from quarry_local import platform, sample, supervisor
from quarry_local.errors import LocalError
from quarry_local.layout import Layout, find_layout, project_root
from quarry_local.logs import follow, last_lines
from quarry_local.plan import http_port
from quarry_local.secret_store import load_secrets
from quarry_local.state import State, Step, load_state
from quarry_local.status import PROMISE, table

P = ParamSpec("P")
R = TypeVar("R")


def stamp() -> str:
    """Return the time for a line of the supervisor's log."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Tell an error of this package or of the client as its sentence and what to do; exit code 1."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except QuarryError as error:
            raise click.ClickException(f"{error.data.detail}\n{error.data.advice}") from error
        except ClientError as error:
            raise click.ClickException(f"{error.detail}\n{error.advice}") from error

    return run


class Steps:
    """Numbers what is done and tells how long each took."""

    def __init__(self) -> None:
        self._count = 0
        self._begun = self._last = time.monotonic()

    def done(self, title: str, seconds: float | None = None) -> None:
        """Tell a finished step; without `seconds`, the time since the one before it."""
        now = time.monotonic()
        took = now - self._last if seconds is None else seconds
        self._last = now
        self._count += 1
        click.echo(f"{self._count:>2}. {title:<72} {took:6.1f} s")

    @property
    def total_seconds(self) -> float:
        """Return the time since the first step began."""
        return time.monotonic() - self._begun


@click.command()
@click.option("--foreground", is_flag=True, help="Supervise in this process until Ctrl-C.")
@click.option("--sample", "with_sample", is_flag=True, help="Index the project's own documents and search.")
@told
def up(foreground: bool, with_sample: bool) -> None:
    """Start what is missing of the platform, and keep it running. Twice is harmless."""
    layout, environ, steps = find_layout(), dict(os.environ), Steps()
    programs = platform.prepare(layout, environ, lambda line: click.echo(f"    {line}"))
    steps.done(f"Programs: {', '.join(path.name for path in programs) or 'none needed'}")
    if foreground:
        sys.exit(supervisor.run(layout, environ, lambda line: click.echo(f"{stamp()} {line}")))

    def on_step(step: Step) -> None:
        steps.done(step.title, step.seconds)

    state, already = platform.up(layout, environ, on_step)
    if already:
        steps.done("The platform runs already")
        _warn_of_other_port(state, environ)
    operator_key = value_of("OPERATOR_KEY", environ) or load_secrets(layout.secrets).operator_key
    found = sample.ensure_credentials(layout.credentials, state.url, operator_key)
    steps.done(f"Tenant `{found.tenant_slug}` and an API key")
    if with_sample:
        _show_sample(found, steps)
    _farewell(layout, state, steps)


@click.command()
@told
def down() -> None:
    """Stop services and servers; data stays."""
    begun = time.monotonic()
    ran = platform.down(find_layout(), lambda line: click.echo(f"    {line}"))
    took = f"in {time.monotonic() - begun:.1f} s; the data stays in {find_layout().var}"
    click.echo(f"Stopped {took}." if ran else "Nothing was running.")


@click.command()
@told
def status() -> None:
    """Show each process."""
    state = load_state(find_layout().state)
    Console(width=None if sys.stdout.isatty() else 160).print(table(state))
    if state.supervisor_process() is None:
        left = len(state.living("server")) + len(state.living("service"))
        click.echo(
            f"The supervisor is gone and {left} processes run without it: `quarry up` takes them over."
            if left
            else "The platform is not running: `quarry up` starts it."
        )
        if state.detail:
            click.echo(f"It ended because: {state.detail} {state.advice}")
    else:
        click.echo(f"API {state.url}   phase {state.phase}")
    click.echo(PROMISE)
    sys.exit(0 if state.phase == "ready" and state.supervisor_process() is not None else 1)


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on as lines are written.")
@click.option("-n", "--lines", default=40, show_default=True, type=click.IntRange(0, 100_000))
@told
def logs(name: str | None, following: bool, lines: int) -> None:
    """Show the logs of all processes, or of the one called NAME."""
    folder = find_layout().log("x").parent
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if name is not None and name not in found:
        raise LocalError(
            f"There is no log of {name!r}.", advice=f"There are: {', '.join(found) or 'none yet'}."
        )
    chosen = [found[name]] if name else list(found.values())
    for path in chosen:
        for line in last_lines(path, lines):
            click.echo(line if name else f"{path.stem:>13} | {line}")
    if not following:
        return
    for path, line in follow(chosen):
        click.echo(line if name else f"{path.stem:>13} | {line}")


@click.command()
@told
def doctor() -> None:
    """Check this machine; each finding says what to do."""
    # What a connection logs while it is tried, its finding tells.
    logging.getLogger().addHandler(logging.NullHandler())
    findings = checks.examine(find_layout(), dict(os.environ))
    for finding in findings:
        click.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.subject:<14} {finding.detail}")
        if finding.advice:
            click.echo(f"     {'':<14} -> {finding.advice}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@click.command()
@told
def credentials() -> None:
    """Print the address and the keys of this installation."""
    path = find_layout().credentials
    if sample.load_credentials(path) is None:
        raise LocalError(f"There is no {path} yet.", advice="Run `quarry up`; it makes a tenant and a key.")
    click.echo(path.read_text(encoding="utf-8").rstrip())


def _show_sample(found: sample.Credentials, steps: Steps) -> None:
    root = project_root()
    count, changed = sample.ingest(found, root, sample.sample_files(root))
    steps.done(f"Sample: {count} of the project's documents searchable, {changed} of them new")
    answer = sample.search(found)
    steps.done(f"Search: {answer.total} passages found")
    click.echo(f"\n  {answer.query}")
    for rank, result in enumerate(answer.results, start=1):
        place = " > ".join(result.heading_path) or result.title
        text = " ".join(result.text.split())
        click.echo(f"  {rank}. {result.external_id or result.title}: {place}  ({result.score:.3f})")
        click.echo(f"     {text[:150]}{'…' if len(text) > 150 else ''}")


def _farewell(layout: Layout, state: State, steps: Steps) -> None:
    def shown(path: Path) -> str:
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

    click.echo(f"\nQuarry runs ({steps.total_seconds:.1f} s).")
    click.echo(f"  API          {state.url}/api/search")
    click.echo(f"  Docs         {state.url}/docs")
    click.echo(f"  Keys         {shown(layout.credentials)}   (or: quarry credentials)")
    click.echo(f"  Logs         {shown(layout.log('x').parent)}/   (or: make logs)")
    click.echo("  Next         .venv/bin/quarry ingest PATH     sends files")
    click.echo("               .venv/bin/quarry search 'words'  finds passages")
    click.echo("               make status, make down")


def _warn_of_other_port(state: State, environ: dict[str, str]) -> None:
    wanted = http_port(environ)
    if environ.get("HTTP_PORT") and wanted != state.http_port:
        click.echo(
            f"    The platform runs already, on port {state.http_port}: "
            f"`make down`, then `HTTP_PORT={wanted} make up` moves it."
        )
