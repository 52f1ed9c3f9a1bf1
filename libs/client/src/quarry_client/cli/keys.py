"""`quarry keys`."""

import sys
from datetime import UTC, datetime
from uuid import UUID

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.key_output import show_created, show_key, show_keys
from quarry_client.cli.output import amount, print_fields, print_json, print_table, tell, whole
from quarry_client.cli.paging import take
from quarry_client.cli.secret_text import read_secret
from quarry_client.client import Client
from quarry_client.types import KEY_LABELS, ROLES, ApiKey, KeyLabelName, RoleName


@click.group()
def keys() -> None:
    """Make, look at, rotate and revoke API keys."""


@keys.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What it may do, by a name; or name scopes.")
@click.option("--scope", "scopes", multiple=True, help="What it may do, such as search; may be repeated.")
@click.option("--label", type=click.Choice(KEY_LABELS), default="live", show_default=True)
@click.option(
    "--expires-at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="When it ends, in UTC."
)
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--collection", "collections", multiple=True, help="Use this one alone; may be repeated.")
@click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help="Be used from there alone; may be repeated."
)
@click.option(
    "--principal", "principals", multiple=True, help="Find documents that allow it, too; may be repeated."
)
@click.option("--requests-per-second", type=click.IntRange(min=1), help="Its own limit, beside the tenant's.")
@json_option
@with_client()
def create_key(
    client: Client,
    name: str,
    role: RoleName | None,
    scopes: tuple[str, ...],
    label: KeyLabelName,
    expires_at: datetime | None,
    metadata: tuple[str, ...],
    collections: tuple[str, ...],
    networks: tuple[str, ...],
    principals: tuple[str, ...],
    requests_per_second: int | None,
    as_json: bool,
) -> None:
    """Make a key with a role or with scopes. It is shown once and cannot be read again."""
    if bool(role) is bool(scopes):
        raise click.UsageError("Give --role, or --scope as often as needed.")
    created = client.create_key(
        name,
        role=role,
        scopes=scopes or None,
        label=label,
        expires_at=expires_at.replace(tzinfo=UTC) if expires_at else None,
        metadata=_metadata(metadata) or None,
        collections=collections or None,
        networks=networks or None,
        principals=principals or None,
        requests_per_second=requests_per_second,
    )
    show_created(created, "", as_json=as_json)


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
    else:
        show_keys(found)


@keys.command("show")
@click.argument("key_id", type=click.UUID)
@json_option
@with_client()
def show(client: Client, key_id: UUID, as_json: bool) -> None:
    """Show what a key may, and when it was used last."""
    key = client.get_key(key_id)
    if as_json:
        print_json(key)
    else:
        show_key(key)


@keys.command("usage")
@click.argument("key_id", type=click.UUID)
@json_option
@with_client()
def usage(client: Client, key_id: UUID, as_json: bool) -> None:
    """Show how often a key was used on each of the last 90 days (UTC)."""
    used = client.key_usage(key_id)
    if as_json:
        print_json(used)
        return
    print_fields([("last used", used.last_used_at)])
    columns = (whole("day"), amount("requests"), amount("denied"))
    rows = ((each.day, each.requests, each.denied) for each in used.days)
    print_table(columns, rows, empty="It was not used in the last 90 days.")


@keys.command("rotate")
@click.argument("key_id", type=click.UUID)
@click.option(
    "--overlap-seconds",
    type=click.IntRange(min=0),
    help="How long the old key goes on beside the new one; a day when it is not given.",
)
@json_option
@with_client()
def rotate(client: Client, key_id: UUID, overlap_seconds: int | None, as_json: bool) -> None:
    """Make a key that may what an old one may, and let the old one end."""
    created = client.rotate_key(key_id, overlap_seconds=overlap_seconds)
    show_created(created, f"When the old one ends is told by `quarry keys show {key_id}`.", as_json=as_json)


@keys.command("verify")
@json_option
@with_client()
def verify(client: Client, as_json: bool) -> None:
    """Tell whether a key of the tenant would be let in now; exits with 1 if not.

    The key is read from the standard input, or asked for at a terminal.
    """
    verdict = client.verify_key(read_secret("Key"))
    if as_json:
        print_json(verdict)
    else:
        click.echo("The key is valid." if verdict.valid else f"The key is refused: {verdict.code}.")
        if verdict.api_key is not None:
            show_key(verdict.api_key)
    if not verdict.valid:
        sys.exit(1)


@keys.command("revoke")
@click.argument("key_id", type=click.UUID)
@json_option
@with_client()
def revoke_key(client: Client, key_id: UUID, as_json: bool) -> None:
    """Have a key refused from now on, everywhere within 5 seconds."""
    tell(client.revoke_key(key_id), f"Revoked {key_id}.", as_json=as_json)


def _metadata(pairs: tuple[str, ...]) -> dict[str, str]:
    """A key's metadata is text only."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{pair!r} is not of the form name=value.", param_hint="--metadata")
        found[name] = value
    return found
