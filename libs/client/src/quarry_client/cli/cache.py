"""`quarry cache`: for platform operators."""

import sys

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_json, print_table
from quarry_client.client import Client
from quarry_client.types import CacheCounts

COLUMNS = (
    "instance", "cache", "hits", "misses", "hit rate", "paused", "entries", "bytes", "evictions", "breaker"
)  # fmt: skip


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
    rows = [(each.instance, *_row(counts)) for each in report.instances for counts in each.caches]
    together = [("all", *_row(counts)) for counts in report.caches]
    print_table(COLUMNS, rows + together, empty="No process has a cache.")
    click.echo(f"{report.answered} processes answered.")
    if report.redis is not None:
        click.echo(f"Redis keeps {report.redis.entries} entries, {report.redis.bytes} bytes.")


@cache.command("purge")
@json_option
@with_client(operator=True)
def purge(client: Client, as_json: bool) -> None:
    """Forget what is cached for --tenant, or for all tenants.

    With the key of a tenant, for that tenant. Exits with 1 when something may be left.
    """
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
        counts.name, counts.hits, counts.misses, rate, counts.paused, memory.entries, memory.bytes,
        memory.evictions, counts.breaker,
    )  # fmt: skip
