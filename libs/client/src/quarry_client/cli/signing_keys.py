"""`quarry signing-keys`."""

from datetime import UTC, datetime
from uuid import UUID

import click

from quarry_client.cli.choices import TIMES
from quarry_client.cli.connection import json_option, with_client, yes_option
from quarry_client.cli.output import print_json, print_table, show_secret, tell, whole
from quarry_client.client import Client


@click.group("signing-keys")
def signing_keys() -> None:
    """Make, list and revoke the keys that sign search tokens."""


@signing_keys.command("create")
@click.argument("name")
@click.option(
    "--public-key", help="The public half of your own Ed25519 key, base64url; none: a pair is made."
)
@click.option(
    "--collection", "collections", multiple=True, help="Its tokens search only here; may be repeated."
)
@json_option
@with_client()
def create_signing_key(
    client: Client, name: str, public_key: str | None, collections: tuple[str, ...], as_json: bool
) -> None:
    """Make a signing key. Its private half is shown once and cannot be read again."""
    created = client.create_signing_key(
        name, public_key=public_key, collections=list(collections) if collections else None
    )
    if as_json:
        print_json(created)
        return
    if created.private_key is None:
        click.echo(created.signing_key.id)
        return
    show_secret(created.private_key.rstrip(), created.signing_key.id)


@signing_keys.command("list")
@json_option
@with_client()
def list_signing_keys(client: Client, as_json: bool) -> None:
    """List the tenant's signing keys."""
    found = client.list_signing_keys()
    if as_json:
        print_json(found)
        return
    rows = (
        (k.id, k.name, k.public_key, "all" if k.collections is None else k.collections, k.created_at,
         k.revoke_before, k.revoked_at)
        for k in found.signing_keys
    )  # fmt: skip
    columns = (
        whole("id"),
        "name",
        "public key",
        "collections",
        "created",
        "tokens refused before",
        "revoked",
    )
    print_table(columns, rows, empty="There are no signing keys.")


@signing_keys.command("revoke")
@click.argument("signing_key_id", type=click.UUID)
@click.option("--before", type=TIMES, help="Only tokens issued before this time, in UTC.")
@yes_option
@json_option
@with_client()
def revoke_tokens(
    client: Client, signing_key_id: UUID, before: datetime | None, yes: bool, as_json: bool
) -> None:
    """Have a signing key's tokens refused: all for ever, or those issued before a time."""
    if before is None and not yes:
        click.confirm(
            f"Revoke the signing key {signing_key_id} with all its tokens, for ever?", abort=True, err=True
        )
    revoked = client.revoke_tokens(signing_key_id, before=before.replace(tzinfo=UTC) if before else None)
    if revoked.revoked_at is not None:
        told = f"Revoked {signing_key_id}."
    else:
        told = f"Tokens issued before {revoked.revoke_before:%Y-%m-%d %H:%M:%S} are refused."
    tell(revoked, told, as_json=as_json)
