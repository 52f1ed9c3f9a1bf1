"""`quarry tenants`: for platform operators."""

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_json, print_table
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import Tenant


@click.group()
def tenants() -> None:
    """Create and list tenants (with the operator's key)."""


@tenants.command("create")
@click.argument("slug")
@click.option("--name", help="Its full name; the slug when it is not given.")
@json_option
@with_client(operator=True)
def create_tenant(client: Client, slug: str, name: str | None, as_json: bool) -> None:
    """Create a tenant."""
    tenant = client.create_tenant(slug, name or slug)
    if as_json:
        print_json(tenant)
        return
    click.echo(f"Created the tenant {tenant.slug}.")
    click.echo(f"Make its first key with `quarry keys create NAME --scope search --tenant {tenant.slug}`.")


@tenants.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@json_option
@with_client(operator=True)
def list_tenants(client: Client, limit: int, as_json: bool) -> None:
    """List tenants in the order of their creation."""

    def fetch(size: int, cursor: str | None) -> tuple[list[Tenant], str | None]:
        page = client.list_tenants(limit=size, cursor=cursor)
        return page.tenants, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"tenants": found})
        return
    rows = ((t.slug, t.name, t.id, "disabled" if t.disabled else "active", t.created_at) for t in found)
    print_table(("slug", "name", "id", "state", "created"), rows, empty="There are no tenants.")
