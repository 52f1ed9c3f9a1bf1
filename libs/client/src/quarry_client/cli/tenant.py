"""`quarry tenant`: the key's own."""

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.tenant_output import show_own_tenant
from quarry_client.cli.tenant_settings import origins_options
from quarry_client.client import Client


@click.group()
def tenant() -> None:
    """Look at the key's own tenant, and change what it may change of itself."""


@tenant.command("show")
@json_option
@with_client()
def show(client: Client, as_json: bool) -> None:
    """Show the tenant, its quotas and how much of them is used."""
    show_own_tenant(client.own_tenant(), as_json=as_json)


@tenant.command("update")
@origins_options
@json_option
@with_client()
def update(client: Client, origins: list[str] | None, as_json: bool) -> None:
    """Change which web pages may call the API; they take the place of those before."""
    if origins is None:
        raise click.UsageError("Name what to change: --cors-origin or --no-cors-origins.")
    show_own_tenant(client.update_own_tenant(cors_origins=origins), as_json=as_json)
