"""The `quarry` command. Commands of other installed packages join through the entry-point group
`quarry.commands` and are loaded only when they are used.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

from quarry_client.cli.analytics import analytics
from quarry_client.cli.audit import audit
from quarry_client.cli.cache import cache
from quarry_client.cli.collections import collections
from quarry_client.cli.dead_letters import dead_letters
from quarry_client.cli.documents import documents
from quarry_client.cli.domains import domains
from quarry_client.cli.drift import drift
from quarry_client.cli.eval import eval_command
from quarry_client.cli.events import events
from quarry_client.cli.failure import Failure
from quarry_client.cli.ingest import ingest
from quarry_client.cli.jobs import jobs
from quarry_client.cli.keys import keys
from quarry_client.cli.reindex import reindex
from quarry_client.cli.search import search
from quarry_client.cli.signing_keys import signing_keys
from quarry_client.cli.tenant import tenant
from quarry_client.cli.tenants import tenants
from quarry_client.cli.tokens import tokens
from quarry_client.cli.usage import usage
from quarry_client.cli.webhooks import webhooks
from quarry_client.errors import ClientError

ENTRY_POINT_GROUP: Final = "quarry.commands"


class QuarryGroup(click.Group):
    """A group that finds further commands by entry points and tells errors in a sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, own and installed."""
        return sorted({*super().list_commands(ctx), *(found.name for found in _installed())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command; one of another package is imported now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        found = next((entry for entry in _installed() if entry.name == cmd_name), None)
        return _loaded(found) if found else None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error of the client becomes one sentence and exit code 1."""
        try:
            return super().invoke(ctx)
        except ClientError as error:
            raise Failure.of(error) from error


def _installed() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _loaded(entry: EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except (ImportError, AttributeError) as error:
        return _broken(entry, f"{entry.value} cannot be loaded: {error}")
    if not isinstance(command, click.Command):
        return _broken(entry, f"{entry.value} is no click command")
    return command


def _broken(entry: EntryPoint, reason: str) -> click.Command:
    """Stand in for a command that cannot be loaded, so that the others go on working."""

    def fail() -> None:
        raise Failure(f"The command `{entry.name}` is broken: {reason}.", "Install its package again.")

    return click.Command(entry.name, callback=fail, short_help="(cannot be loaded)")


@click.group(cls=QuarryGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quarry-client", prog_name="quarry")
def main() -> None:
    """Send files to Quarry, search them, and run the platform.

    The address and the key come from --url and --api-key, from QUARRY_URL and QUARRY_API_KEY, or from
    var/credentials.json in this folder or one above it.
    """


for _command in (
    ingest, search, documents, jobs, dead_letters, reindex, collections, keys, signing_keys, tokens,
    domains, webhooks, tenant, tenants, usage, analytics, audit, drift, cache, events, eval_command,
):  # fmt: skip
    main.add_command(_command)
