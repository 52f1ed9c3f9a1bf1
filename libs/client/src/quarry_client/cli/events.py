"""`quarry events`."""

from datetime import UTC, datetime

import click

from quarry_client.cli.choices import TIMES
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_json
from quarry_client.client import Client
from quarry_client.types import OUTBOX_SERVICES, OutboxServiceName


@click.group()
def events() -> None:
    """Work with what the platform tells its subscribers."""


@events.command("replay")
@click.option(
    "--service", type=click.Choice(OUTBOX_SERVICES), required=True, help="Whose events, such as indexer."
)
@click.option("--since", type=TIMES, required=True, help="When the first of them happened, in UTC.")
@click.option("--until", type=TIMES, help="Up to this time, in UTC; now by default.")
@json_option
@with_client(operator=True)
def replay(
    client: Client, service: OutboxServiceName, since: datetime, until: datetime | None, as_json: bool
) -> None:
    """Publish events once more, of --tenant or of all (with the operator's key).

    For subscribers that have lost them. Who knows an event by its id does nothing twice.
    """
    last = datetime.now(UTC) if until is None else until.replace(tzinfo=UTC)
    done = client.replay_events(service, since=since.replace(tzinfo=UTC), until=last)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done.events} events are published once more.")
