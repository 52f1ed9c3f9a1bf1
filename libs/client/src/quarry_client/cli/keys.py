"""`quarry keys`."""

from datetime import UTC, datetime
from uuid import UUID

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_json, print_table
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import KEY_LABELS, ApiKey, KeyLabelName


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="What it may do, such as search; may be repeated."
)
@click.option("--label", type=click.Choice(KEY_LABELS), default="live", show_default=True)
@click.option(
    "--expires-at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="When it ends, in UTC."
)
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@json_option
@with_client()
def create_key(
    client: Client,
    name: str,
    scopes: tuple[str, ...],
    label: KeyLabelName,
    expires_at: datetime | None,
    metadata: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a key. It is shown once and cannot be read again."""
    created = client.create_key(
        name,
        scopes=list(scopes),
        label=label,
        expires_at=expires_at.replace(tzinfo=UTC) if expires_at else None,
        metadata=_metadata(metadata),
    )
    if as_json:
        print_json(created)
        return
    click.echo(created.key)
    click.echo(f"Keep this key now: it is not shown again. Its id is {created.api_key.id}.", err=True)


@keys.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@json_option
@with_client()
def list_keys(client: Client, limit: int, as_json: bool) -> None:
    """List the tenant's keys without their secrets."""

    def fetch(size: int, cursor: str | None) -> tuple[list[ApiKey], str | None]:
        page = client.list_keys(limit=size, cursor=cursor)
        return page.keys, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"keys": found})
        return
    rows = ((k.id, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.revoked_at) for k in found)
    columns = ("id", "name", "prefix", "scopes", "created", "expires", "revoked")
    print_table(columns, rows, empty="There are no keys.")


@keys.command("revoke")
@click.argument("key_id", type=click.UUID)
@with_client()
def revoke_key(client: Client, key_id: UUID) -> None:
    """Have a key refused from now on."""
    client.revoke_key(key_id)
    click.echo(f"Revoked {key_id}.")


def _metadata(pairs: tuple[str, ...]) -> dict[str, str]:
    """A key's metadata is text only."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{pair!r} is not of the form name=value.", param_hint="--metadata")
        found[name] = value
    return found
