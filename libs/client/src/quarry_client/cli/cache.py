"""`quarry cache`: for platform operators."""

import sys
from typing import Final

import click
from rich.table import Column

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import amount, megabytes, print_json, print_table, whole
from quarry_client.client import Client
from quarry_client.types import CacheCounts

ASKED: Final = "No --tenant is named: with an operator's key the caches of all tenants are emptied. Go on?"


@click.group()
def cache() -> None:
    """Look at the platform's caches, and empty them (with the operator's key)."""


@cache.command("stats")
@json_option
@with_client(operator=True)
def stats(client: Client, as_json: bool) -> None:
    """Show how the caches of every process do, since each was started."""
    report = client.cache_stats()
    if as_json:
        print_json(report)
        return
    rows = [
        (each.service, each.instance, *_row(counts)) for each in report.instances for counts in each.caches
    ]
    together = [("all", None, *_row(counts)) for counts in report.caches]
    figures = map(amount, ("hits", "misses", "rate", "paused", "entries", "MB", "evicted"))
    columns: list[str | Column] = [
        whole("service"), "instance", whole("cache"), *figures, whole("breaker")
    ]  # fmt: skip
    print_table(columns, rows + together, empty="No process has a cache.")
    click.echo(f"{report.answered} processes answered.")
    if report.redis is not None:
        click.echo(f"Redis keeps {report.redis.entries} entries, {megabytes(report.redis.bytes)} MB.")


@cache.command("purge")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before emptying all tenants'.")
@json_option
@with_client(operator=True)
def purge(client: Client, yes: bool, as_json: bool) -> None:
    """Forget what is cached for --tenant, or for all tenants.

    With the key of a tenant, for that tenant. Exits with 1 when something may be left.
    """
    if client.tenant is None and not yes:
        click.confirm(ASKED, abort=True, err=True)
    done = client.purge_cache()
    if as_json:
        print_json(done)
    else:
        whose = "all tenants" if done.tenant is None else f"the tenant {done.tenant}"
        click.echo(
            f"Forgot {done.memory_entries} entries of {whose} in the memory of {done.answered} processes, "
            f"and {done.redis_entries} in Redis."
        )
        if not done.complete:
            click.echo("Some may be left: purge again when every process and Redis answer.", err=True)
    if not done.complete:
        sys.exit(1)


def _row(counts: CacheCounts) -> tuple[object, ...]:
    memory = counts.memory
    rate = None if counts.hit_rate is None else f"{counts.hit_rate:.0%}"
    return (
        counts.name, counts.hits, counts.misses, rate, counts.paused, memory.entries,
        None if memory.bytes is None else megabytes(memory.bytes), memory.evictions, counts.breaker,
    )  # fmt: skip
