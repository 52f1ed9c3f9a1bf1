"""`quarry collections`."""

from typing import TextIO

import click
import msgspec

from quarry_client.cli.collection_settings import read_settings, settings_options
from quarry_client.cli.connection import json_option, with_client, yes_option
from quarry_client.cli.output import print_fields, print_json, print_table
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import Collection


@click.group()
def collections() -> None:
    """Create, list, set up and delete collections."""


@collections.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@json_option
@with_client()
def list_collections(client: Client, limit: int, as_json: bool) -> None:
    """List collections by name."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Collection], str | None]:
        page = client.list_collections(limit=size, cursor=cursor)
        return page.collections, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"collections": found})
        return
    rows = ((c.name, c.document_count, c.chunk_count, c.embedder_id, c.created_at) for c in found)
    columns = ("name", "documents", "chunks", "embedder", "created")
    print_table(columns, rows, empty="There are no collections.")


@collections.command("create")
@click.argument("name")
@settings_options
@with_client()
def create_collection(client: Client, name: str, file: TextIO | None, pairs: tuple[str, ...]) -> None:
    """Create a collection."""
    made = client.create_collection(name, settings=read_settings(file, pairs))
    click.echo(f"Created the collection {made.name}.")


@collections.command("settings")
@click.argument("name")
@settings_options
@json_option
@with_client()
def collection_settings(
    client: Client, name: str, file: TextIO | None, pairs: tuple[str, ...], as_json: bool
) -> None:
    """Show a collection's settings, or change those that are given."""
    changes = read_settings(file, pairs)
    found = client.update_collection(name, **changes) if changes else client.get_collection(name)
    if as_json:
        print_json(found.settings)
    else:
        print_fields(
            (setting, msgspec.json.encode(value).decode() if isinstance(value, list) else value)
            for setting, value in msgspec.structs.asdict(found.settings).items()
        )
    if found.outdated_documents:
        click.echo(
            f"{found.outdated_documents} documents were indexed with other settings; "
            f"`quarry reindex --collection {name}` brings them up to date.",
            err=True,
        )


@collections.command("delete")
@click.argument("name")
@yes_option
@with_client()
def delete_collection(client: Client, name: str, yes: bool) -> None:
    """Delete a collection and every document in it."""
    if not yes:
        count = client.get_collection(name).document_count
        click.confirm(f"Delete the collection {name} with its {count} documents?", abort=True)
    client.delete_collection(name)
    click.echo(f"Deleted the collection {name}.")
