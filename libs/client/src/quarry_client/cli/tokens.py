"""`quarry tokens`."""

from typing import TextIO
from uuid import UUID

import click

from quarry_client.cli.failure import Failure
from quarry_client.cli.values import parse_filter


@click.group()
def tokens() -> None:
    """Make search tokens."""


@tokens.command("make")
@click.option(
    "--key", "key_file", type=click.File(), required=True, help="File of the private key; - is stdin."
)
@click.option("--key-id", type=click.UUID, required=True, help="Id of the signing key.")
@click.option("--filter", "filter_json", metavar="JSON", help="All that is found meets it.")
@click.option("--principal", "principals", multiple=True, help="Carried by its searches; may be repeated.")
@click.option("--collection", "collections", multiple=True, help="Search only here; may be repeated.")
@click.option(
    "--lifetime-seconds",
    type=click.IntRange(1, 86_400),
    default=3600,
    show_default=True,
    help="How long it lets in.",
)
@click.option("--subject", help="Whose searches they are.")
def make_token(
    key_file: TextIO,
    key_id: UUID,
    filter_json: str | None,
    principals: tuple[str, ...],
    collections: tuple[str, ...],
    lifetime_seconds: int,
    subject: str | None,
) -> None:
    """Make a search token with the private half of a signing key. Nothing is sent anywhere."""
    try:
        # Loaded only here: what signs is an extra, and takes its time to load.
        from quarry_client import search_tokens  # noqa: PLC0415
    except ImportError as error:
        raise Failure(str(error), "Then run the command again.") from error
    try:
        token = search_tokens.make(
            key_file.read(),
            key_id,
            filter=parse_filter(filter_json),
            principals=principals or None,
            collections=collections or None,
            lifetime_seconds=lifetime_seconds,
            subject=subject,
        )
    except ValueError as error:
        raise Failure(f"No token was made: {error}.") from error
    click.echo(token)
