"""`quarry events`."""

import json
import sys
from datetime import UTC, datetime

import click

from quarry_client.cli.choices import TIMES
from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import plain, print_json
from quarry_client.client import Client
from quarry_client.retry import PATIENT
from quarry_client.types import OUTBOX_SERVICES, OutboxServiceName, PlatformEvent


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


@events.command("follow")
@click.argument("event_types", nargs=-1, metavar="[TYPE]...")
@click.option(
    "--since", type=TIMES, help="Begin with what was told since then, in UTC; with what comes otherwise."
)
@click.option("--after", metavar="PLACE", help="Begin after the event with this `place` (see --json).")
@click.option("--everywhere", is_flag=True, help="What happens in all tenants and to the installation.")
@json_option
@with_client(operator_if="everywhere", retry=PATIENT)
def follow(
    client: Client,
    event_types: tuple[str, ...],
    since: datetime | None,
    after: str | None,
    everywhere: bool,
    as_json: bool,
) -> None:
    """Print what happens as it happens, until it is interrupted.

    TYPE is a type of event, such as document.indexed, or job.*; all by default. A connection that breaks is
    opened again, and nothing is missed.
    """
    told = client.follow_events(
        event_types,
        since=None if since is None else since.replace(tzinfo=UTC),
        after=after,
        everywhere=everywhere,
        on_missed=lambda detail: click.echo(f"Events may be missing here: {detail}", err=True),
    )
    for event in told:
        if as_json:
            print_json(event, compact=True)
        else:
            click.echo(_line(event, everywhere=everywhere))
        sys.stdout.flush()  # or a program that reads it would wait for more


def _line(event: PlatformEvent, *, everywhere: bool) -> str:
    whose = f" {event.tenantid}" if everywhere else ""
    values = " ".join(f"{name}={_short(value)}" for name, value in event.data.items() if value is not None)
    return plain(f"{event.time:%Y-%m-%d %H:%M:%S}{whose} {event.type} {values}")


def _short(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
