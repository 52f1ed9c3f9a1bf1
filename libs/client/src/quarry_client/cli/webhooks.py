"""`quarry webhooks`."""

from datetime import UTC, datetime
from uuid import UUID

import click
import msgspec

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_json, print_table, whole
from quarry_client.cli.paging import take
from quarry_client.cli.webhook_output import (
    show_deliveries,
    show_delivery,
    show_replay,
    show_secret,
    show_stats,
    show_webhook,
    show_webhooks,
)
from quarry_client.client import Client
from quarry_client.types import DELIVERY_STATES, Delivery, DeliveryStateName, Webhook

_TIMES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
_event_option = click.option(
    "--event", "event_types", multiple=True, help="A type, <entity>.*, or * for all; may be repeated."
)
_header_option = click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    help="Sent each time; may be repeated.",
)
_since_option = click.option("--since", type=_TIMES, required=True, help="From then on, in UTC.")
_until_option = click.option("--until", type=_TIMES, help="Before then, in UTC; now by default.")
_id = click.argument("webhook_id", type=click.UUID)


@click.group()
def webhooks() -> None:
    """Say where events are delivered to, and see what became of them."""


@webhooks.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@json_option
@with_client()
def list_webhooks(client: Client, limit: int, as_json: bool) -> None:
    """List the tenant's endpoints."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Webhook], str | None]:
        page = client.list_webhooks(limit=size, cursor=cursor)
        return page.endpoints, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"endpoints": found})
    else:
        show_webhooks(found)


@webhooks.command("create")
@click.argument("address", metavar="ENDPOINT")
@_event_option
@click.option("--description", help="What it is for.")
@_header_option
@click.option("--ordered", is_flag=True, help="Each event waits until the one before it is delivered.")
@click.option("--requests-per-second", type=click.IntRange(1, 1000), help="No more than that.")
@click.option("--disabled", is_flag=True, help="Deliver nothing yet.")
@json_option
@with_client()
def create(
    client: Client,
    address: str,
    event_types: tuple[str, ...],
    description: str | None,
    headers: tuple[str, ...],
    ordered: bool,
    requests_per_second: int | None,
    disabled: bool,
    as_json: bool,
) -> None:
    """Deliver events to the address ENDPOINT. Its secret is shown once and cannot be read again."""
    made = client.create_webhook(
        address,
        event_types=event_types or None,
        description=description,
        headers=_headers(headers) or None,
        enabled=not disabled,
        ordered=ordered,
        requests_per_second=requests_per_second,
    )
    show_secret(made, as_json=as_json)


@webhooks.command("show")
@_id
@json_option
@with_client()
def show(client: Client, webhook_id: UUID, as_json: bool) -> None:
    """Show an endpoint and how it does."""
    show_webhook(client.get_webhook(webhook_id), as_json=as_json)


@webhooks.command("update")
@_id
@click.option("--endpoint", "address", help="Another address.")
@_event_option
@click.option("--description", help="What it is for.")
@_header_option
@click.option("--no-headers", is_flag=True, help="Send no headers of its own any more.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it gets anything.")
@click.option("--ordered/--unordered", default=None, help="Whether the order of events is kept.")
@click.option("--requests-per-second", type=click.IntRange(0, 1000), help="No more than that; 0 is no limit.")
@json_option
@with_client()
def update(
    client: Client,
    webhook_id: UUID,
    address: str | None,
    event_types: tuple[str, ...],
    description: str | None,
    headers: tuple[str, ...],
    no_headers: bool,
    enabled: bool | None,
    ordered: bool | None,
    requests_per_second: int | None,
    as_json: bool,
) -> None:
    """Change an endpoint; what is not named stays."""
    if headers and no_headers:
        raise click.UsageError("Give --header or --no-headers.")
    changed = client.update_webhook(
        webhook_id,
        url=address,
        event_types=event_types or None,
        description=description,
        headers={} if no_headers else _headers(headers) or None,
        enabled=enabled,
        ordered=ordered,
        requests_per_second=msgspec.UNSET if requests_per_second is None else requests_per_second or None,
    )
    show_webhook(changed, as_json=as_json)


@webhooks.command("delete")
@_id
@with_client()
def delete(client: Client, webhook_id: UUID) -> None:
    """Delete an endpoint and its log."""
    client.delete_webhook(webhook_id)
    click.echo(f"Deleted {webhook_id}.")


@webhooks.command("rotate")
@_id
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0, 168),
    help="The old secret signs so long, too; 24 by default.",
)
@json_option
@with_client()
def rotate(client: Client, webhook_id: UUID, overlap_hours: float | None, as_json: bool) -> None:
    """Give an endpoint a new secret, which is shown once."""
    show_secret(client.rotate_webhook_secret(webhook_id, overlap_hours=overlap_hours), as_json=as_json)


@webhooks.command("test")
@_id
@json_option
@with_client()
def send_test(client: Client, webhook_id: UUID, as_json: bool) -> None:
    """Deliver a test now."""
    _show_asked(client.send_webhook_test(webhook_id), as_json=as_json)


@webhooks.command("deliveries")
@_id
@click.option("--state", type=click.Choice(DELIVERY_STATES), help="Only those.")
@click.option("--event", "event_type", help="Only of a type, or of <entity>.*.")
@click.option("--since", type=_TIMES, help="Made then or later, in UTC.")
@click.option("--until", type=_TIMES, help="Made before then, in UTC.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@with_client()
def deliveries(
    client: Client,
    webhook_id: UUID,
    state: DeliveryStateName | None,
    event_type: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List an endpoint's deliveries, latest first."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Delivery], str | None]:
        page = client.list_deliveries(
            webhook_id,
            state=state,
            event_type=event_type,
            since=_utc(since),
            until=_utc(until),
            limit=size,
            cursor=cursor,
        )
        return page.deliveries, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"deliveries": found})
    else:
        show_deliveries(found)


@webhooks.command("delivery")
@_id
@click.argument("delivery_id", type=click.UUID)
@json_option
@with_client()
def delivery(client: Client, webhook_id: UUID, delivery_id: UUID, as_json: bool) -> None:
    """Show a delivery, what is sent, and its attempts."""
    show_delivery(client.get_delivery(webhook_id, delivery_id), as_json=as_json)


@webhooks.command("redeliver")
@_id
@click.argument("delivery_id", type=click.UUID)
@json_option
@with_client()
def redeliver(client: Client, webhook_id: UUID, delivery_id: UUID, as_json: bool) -> None:
    """Make a delivery again now."""
    _show_asked(client.redeliver(webhook_id, delivery_id), as_json=as_json)


@webhooks.command("recover")
@_id
@_since_option
@_until_option
@_event_option
@json_option
@with_client()
def recover(
    client: Client,
    webhook_id: UUID,
    since: datetime,
    until: datetime | None,
    event_types: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make again what has failed, is held or expired."""
    started = client.recover_webhook(
        webhook_id, since=since.replace(tzinfo=UTC), until=_utc(until), event_types=event_types or None
    )
    show_replay(started, as_json=as_json)


@webhooks.command("replay")
@_id
@click.option("--since", type=_TIMES, help="From then on, in UTC.")
@_until_option
@_event_option
@click.option("--show", "replay_id", type=click.UUID, help="Start nothing: show how far this one is.")
@json_option
@with_client()
def replay(
    client: Client,
    webhook_id: UUID,
    since: datetime | None,
    until: datetime | None,
    event_types: tuple[str, ...],
    replay_id: UUID | None,
    as_json: bool,
) -> None:
    """Deliver all events of a range again, or show how far a recovery or replay is."""
    if (since is None) is (replay_id is None):
        raise click.UsageError("Give --since, or --show with the id of a replay.")
    if replay_id is not None:
        show_replay(client.get_replay(webhook_id, replay_id), as_json=as_json)
        return
    assert since is not None  # noqa: S101 - one of the two is given
    started = client.replay_webhook(
        webhook_id, since=since.replace(tzinfo=UTC), until=_utc(until), event_types=event_types or None
    )
    show_replay(started, as_json=as_json)


@webhooks.command("stats")
@_id
@click.option("--hours", type=click.IntRange(1, 720), default=24, show_default=True, help="How far back.")
@json_option
@with_client()
def stats(client: Client, webhook_id: UUID, hours: int, as_json: bool) -> None:
    """Show an endpoint's success rate and durations."""
    show_stats(client.webhook_stats(webhook_id, hours=hours), as_json=as_json)


@webhooks.command("event-types")
@json_option
@with_client()
def event_types(client: Client, as_json: bool) -> None:
    """List the types of events; with --json their schemas and examples, too."""
    found = client.list_event_types()
    if as_json:
        print_json(found)
        return
    rows = ((each.type, each.description) for each in found.event_types)
    print_table((whole("type"), "meaning"), rows, empty="There are no types of events.")


def _show_asked(asked: Delivery, *, as_json: bool) -> None:
    if as_json:
        print_json(asked)
        return
    click.echo(asked.id)
    click.echo(f"See what becomes of it: quarry webhooks delivery {asked.endpoint_id} {asked.id}", err=True)


def _headers(pairs: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{name!r} is not of the form NAME=VALUE.", param_hint="--header")
        headers[name] = value
    return headers


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)
