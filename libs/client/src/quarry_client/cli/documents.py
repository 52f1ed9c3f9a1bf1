"""`quarry documents`."""

from uuid import UUID

import click
import msgspec

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_fields, print_json, print_table
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import DOCUMENT_STATUSES, Document, DocumentStatusName


@click.group()
def documents() -> None:
    """Look at documents and delete them."""


@documents.command("list")
@click.option("--collection", help="Only those of this collection.")
@click.option("--status", type=click.Choice(DOCUMENT_STATUSES), help="Only those of this status.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@with_client()
def list_documents(
    client: Client, collection: str | None, status: DocumentStatusName | None, limit: int, as_json: bool
) -> None:
    """List documents, newest first."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Document], str | None]:
        page = client.list_documents(collection=collection, status=status, limit=size, cursor=cursor)
        return page.documents, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"documents": found})
        return
    rows = (
        (d.id, d.external_id or d.title, d.collection, d.doc_type, d.status, d.chunk_count, d.updated_at)
        for d in found
    )
    columns = ("id", "name", "collection", "type", "status", "chunks", "updated")
    print_table(columns, rows, empty="There are no documents.")


@documents.command("get")
@click.argument("document_id", type=click.UUID)
@json_option
@with_client()
def get_document(client: Client, document_id: UUID, as_json: bool) -> None:
    """Show what is known of a document."""
    document = client.get_document(document_id)
    if as_json:
        print_json(document)
    else:
        print_fields(msgspec.structs.asdict(document).items())


@documents.command("delete")
@click.argument("document_ids", nargs=-1, required=True, type=click.UUID)
@with_client()
def delete_documents(client: Client, document_ids: tuple[UUID, ...]) -> None:
    """Delete documents; they cannot be found any more when the command returns."""
    for document_id in document_ids:
        client.delete_document(document_id)
        click.echo(f"Deleted {document_id}.")
