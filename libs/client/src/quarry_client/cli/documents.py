"""`quarry documents`."""

import sys
from uuid import UUID

import click
import msgspec

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import heading, plain, print_fields, print_json, print_table
from quarry_client.cli.paging import take
from quarry_client.cli.values import parse_filter, parse_metadata
from quarry_client.client import Client
from quarry_client.types import (
    DOCUMENT_STATUSES,
    SORTS,
    Chunk,
    Document,
    DocumentChanges,
    DocumentStatusName,
    SortName,
)

SHOWN_CHARACTERS = 200


@click.group()
def documents() -> None:
    """Look at documents, change and delete them."""


@documents.command("list")
@click.option("--collection", help="Only those of this collection.")
@click.option("--status", type=click.Choice(DOCUMENT_STATUSES), help="Only those of this status.")
@click.option("--filter", "filter_json", metavar="JSON", help='Those that fit, such as {"tags": ["law"]}.')
@click.option("--sort", type=click.Choice(SORTS), default="-created_at", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@with_client()
def list_documents(
    client: Client,
    collection: str | None,
    status: DocumentStatusName | None,
    filter_json: str | None,
    sort: SortName,
    limit: int,
    as_json: bool,
) -> None:
    """List documents, newest first unless sorted otherwise."""
    filters = parse_filter(filter_json)

    def fetch(size: int, cursor: str | None) -> tuple[list[Document], str | None]:
        page = client.list_documents(
            collection=collection, status=status, filters=filters, sort=sort, limit=size, cursor=cursor
        )
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


@documents.command("content")
@click.argument("document_id", type=click.UUID)
@with_client()
def show_content(client: Client, document_id: UUID) -> None:
    """Print a document's text as it was extracted."""
    text = client.get_content(document_id)
    click.echo(plain(text) if sys.stdout.isatty() else text, nl=False)


@documents.command("chunks")
@click.argument("document_id", type=click.UUID)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@with_client()
def list_chunks(client: Client, document_id: UUID, limit: int, as_json: bool) -> None:
    """List the passages that a document was cut into, in their order."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Chunk], str | None]:
        page = client.list_chunks(document_id, limit=size, cursor=cursor)
        return page.chunks, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"chunks": found})
        return
    rows = (
        (
            c.ordinal,
            c.page,
            heading(c.heading_path),
            f"{c.char_start}-{c.char_end}",
            c.token_count,
            _start(c),
        )
        for c in found
    )
    columns = ("place", "page", "heading", "characters", "tokens", "text")
    print_table(columns, rows, empty="The document has no passages.")


def _start(chunk: Chunk) -> str:
    text = " ".join(chunk.text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


@documents.command("patch")
@click.argument("document_id", type=click.UUID)
@click.option("--tag", "tags", multiple=True, help="Instead of the tags it has; may be repeated.")
@click.option("--no-tags", is_flag=True, help="Take all tags away.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="Add or replace; may be repeated.")
@click.option("--remove-metadata", "removed", multiple=True, metavar="NAME", help="May be repeated.")
@click.option("--doc-type", help="Its type; empty for none.")
@click.option("--source-url", help="Where it is from; empty for nowhere.")
@click.option("--principal", "principals", multiple=True, help="Who may find it; may be repeated.")
@click.option("--for-everybody", is_flag=True, help="Let everybody of the tenant find it.")
@click.option("--if-match", type=int, metavar="REVISION", help="Only while it is at this revision.")
@json_option
@with_client()
def patch_document(
    client: Client,
    document_id: UUID,
    tags: tuple[str, ...],
    no_tags: bool,
    metadata: tuple[str, ...],
    removed: tuple[str, ...],
    doc_type: str | None,
    source_url: str | None,
    principals: tuple[str, ...],
    for_everybody: bool,
    if_match: int | None,
    as_json: bool,
) -> None:
    """Change what is said of a document. Nothing is indexed again."""
    if (tags and no_tags) or (principals and for_everybody):
        raise click.UsageError("--no-tags and --for-everybody go without --tag and --principal.")
    changes: DocumentChanges = {}
    if tags or no_tags:
        changes["tags"] = list(tags)
    if metadata or removed:
        changes["metadata"] = {**parse_metadata(metadata), **dict.fromkeys(removed)}
    if doc_type is not None:
        changes["doc_type"] = doc_type or None
    if source_url is not None:
        changes["source_url"] = source_url or None
    if principals or for_everybody:
        changes["allowed_principals"] = list(principals) or None
    if not changes:
        raise click.UsageError("Say what is to change, such as --tag.")
    document = client.patch_document(document_id, if_match=if_match, **changes)
    if as_json:
        print_json(document)
    else:
        click.echo(f"Changed {document_id}; it is at revision {document.revision}.")


@documents.command("delete")
@click.argument("document_ids", nargs=-1, required=True, type=click.UUID)
@with_client()
def delete_documents(client: Client, document_ids: tuple[UUID, ...]) -> None:
    """Delete documents; they cannot be found any more when the command returns."""
    for document_id in document_ids:
        client.delete_document(document_id)
        click.echo(f"Deleted {document_id}.")
