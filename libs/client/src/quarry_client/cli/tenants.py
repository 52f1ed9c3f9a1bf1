"""`quarry tenants`: for platform operators."""

import sys
from typing import Final

import click

from quarry_client.cli.connection import json_option, with_client, yes_option
from quarry_client.cli.failure import Failure
from quarry_client.cli.output import duration, plain, print_json, print_table, tell, whole
from quarry_client.cli.paging import take
from quarry_client.cli.tenant_output import show_receipt, show_tenant
from quarry_client.cli.tenant_settings import origins_options, quota_option, read_quotas
from quarry_client.client import Client
from quarry_client.types import PLANS, PlanName, Tenant, TenantChanges

SHORTEST_GRACE_SECONDS: Final = 10
"""Of the platform: so long some gateway may believe that a tenant is active."""


@click.group()
def tenants() -> None:
    """Create, change and delete tenants (with the operator's key)."""


@tenants.command("create")
@click.argument("slug")
@click.option("--name", help="Its full name; the slug when it is not given.")
@click.option("--plan", type=click.Choice(PLANS), help="Its quotas; `standard` when it is not given.")
@quota_option
@origins_options
@json_option
@with_client(operator=True)
def create_tenant(
    client: Client,
    slug: str,
    name: str | None,
    plan: PlanName | None,
    quotas: tuple[str, ...],
    origins: list[str] | None,
    as_json: bool,
) -> None:
    """Create a tenant."""
    changes = read_quotas(quotas, {}) or None
    tenant = client.create_tenant(slug, name or slug, plan=plan, quotas=changes, cors_origins=origins)
    first_key = f"Make its first key with `quarry keys create NAME --role admin --tenant {tenant.slug}`."
    tell(tenant, f"Created the tenant {tenant.slug}.\n{first_key}", as_json=as_json)


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
    rows = ((t.slug, t.name, t.plan, t.state, t.created_at) for t in found)
    columns = (whole("slug"), "name", whole("plan"), whole("state"), whole("created"))
    print_table(columns, rows, empty="There are no tenants.")


@tenants.command("show")
@click.argument("slug")
@json_option
@with_client(operator=True)
def show(client: Client, slug: str, as_json: bool) -> None:
    """Show a tenant and its quotas."""
    show_tenant(client.get_tenant(slug), as_json=as_json)


@tenants.command("update")
@click.argument("slug")
@click.option("--name", help="Its full name.")
@click.option("--plan", type=click.Choice(PLANS), help="Its quotas.")
@quota_option
@origins_options
@json_option
@with_client(operator=True)
def update(
    client: Client,
    slug: str,
    name: str | None,
    plan: PlanName | None,
    quotas: tuple[str, ...],
    origins: list[str] | None,
    as_json: bool,
) -> None:
    """Change a tenant; what is not named stays."""
    changes: TenantChanges = {}
    if name is not None:
        changes["name"] = name
    if plan is not None:
        changes["plan"] = plan
    if quotas:
        changes["quotas"] = read_quotas(quotas, client.get_tenant(slug).quota_changes)
    if origins is not None:
        changes["cors_origins"] = origins
    if not changes:
        raise click.UsageError("Name what to change, such as --plan.")
    show_tenant(client.update_tenant(slug, **changes), as_json=as_json)


@tenants.command("disable")
@click.argument("slug")
@json_option
@with_client(operator=True)
def disable(client: Client, slug: str, as_json: bool) -> None:
    """Refuse a tenant's keys from now on, everywhere within 5 seconds."""
    disabled = client.update_tenant(slug, disabled=True)
    tell(disabled, f"The tenant {slug} is disabled: its keys are refused.", as_json=as_json)


@tenants.command("enable")
@click.argument("slug")
@json_option
@with_client(operator=True)
def enable(client: Client, slug: str, as_json: bool) -> None:
    """Let a tenant's keys in again."""
    enabled = client.update_tenant(slug, disabled=False)
    tell(enabled, f"The tenant {slug} is enabled.", as_json=as_json)


@tenants.command("delete")
@click.argument("slug")
@click.option(
    "--grace-seconds",
    type=click.IntRange(min=0),
    help="When it is purged, from now on; the installation's time of grace when it is not given.",
)
@yes_option
@json_option
@with_client(operator=True)
def delete(client: Client, slug: str, grace_seconds: int | None, yes: bool, as_json: bool) -> None:
    """Disable a tenant now and purge it from every store when its time of grace is over."""
    if not yes:
        _ask_for_slug(client.get_tenant(slug), grace_seconds)
    tenant = client.delete_tenant(slug, grace_seconds=grace_seconds)
    when = "soon" if tenant.purge_at is None else f"at {tenant.purge_at:%Y-%m-%d %H:%M:%S} UTC"
    told = f"The tenant {slug} is disabled, and purged {when}; `quarry tenants restore {slug}` keeps it."
    tell(tenant, told, as_json=as_json)


@tenants.command("restore")
@click.argument("slug")
@json_option
@with_client(operator=True)
def restore(client: Client, slug: str, as_json: bool) -> None:
    """Keep a tenant whose time of grace is not over. It is disabled still."""
    tenant = client.restore_tenant(slug)
    told = f"The tenant {slug} is kept. It is disabled still: `quarry tenants enable {slug}`."
    tell(tenant, told, as_json=as_json)


@tenants.command("purge-receipt")
@click.argument("slug")
@json_option
@with_client(operator=True)
def purge_receipt(client: Client, slug: str, as_json: bool) -> None:
    """Show what the purge of a tenant removed; exits with 1 unless it is verified that nothing is left."""
    receipt = client.purge_receipt(slug)
    show_receipt(receipt, as_json=as_json)
    if not receipt.verified:
        sys.exit(1)


def _ask_for_slug(tenant: Tenant, grace_seconds: int | None) -> None:
    """A slug that has to be typed is read first. Raises Failure when another one is."""
    if grace_seconds is None:
        when = "when the installation's time of grace (TENANT_GRACE_HOURS) is over"
    else:
        when = f"in {duration(max(grace_seconds, SHORTEST_GRACE_SECONDS))}"
    click.echo(
        f"The tenant {tenant.slug} ({plain(tenant.name)}) is to be disabled now, and purged from every store "
        f"{when}. Until then `quarry tenants restore {tenant.slug}` keeps it.",
        err=True,
    )
    if click.prompt("Type its slug to delete it", err=True) != tenant.slug:
        raise Failure("That is not its slug: nothing was done.")
