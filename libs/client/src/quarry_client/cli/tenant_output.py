"""How commands show tenants, their quotas, and what became of them."""

from collections.abc import Iterator

import click
import msgspec

from quarry_client.cli.output import amount, megabytes, print_fields, print_json, print_table, whole
from quarry_client.types import OwnTenant, PurgeReceipt, Quotas, Tenant, Use


def show_tenant(tenant: Tenant, *, as_json: bool) -> None:
    """Print all that is known of a tenant."""
    if as_json:
        print_json(tenant)
        return
    print_fields(
        [
            ("slug", tenant.slug),
            ("name", tenant.name),
            ("id", tenant.id),
            ("state", tenant.state),
            *([("purged at", tenant.purge_at)] if tenant.purge_at else []),
            ("plan", tenant.plan),
            ("web pages", tenant.cors_origins),
            ("created", tenant.created_at),
        ]
    )
    click.echo()
    rows = (
        (name, _limit(limit), "its own" if name in tenant.quota_changes else "plan")
        for name, limit in _each(tenant.quotas)
    )
    print_table((whole("quota"), amount("limit"), "from"), rows, empty="It has no quotas.")


def show_own_tenant(tenant: OwnTenant, *, as_json: bool) -> None:
    """Print a tenant with its quotas and how much of them is used."""
    if as_json:
        print_json(tenant)
        return
    print_fields(
        [
            ("slug", tenant.slug),
            ("name", tenant.name),
            ("plan", tenant.plan),
            ("web pages", tenant.cors_origins),
            ("created", tenant.created_at),
        ]
    )
    click.echo()
    rows = (_use_of(name, limit, tenant.use) for name, limit in _each(tenant.quotas))
    print_table((whole("quota"), amount("used"), amount("limit"), amount("share")), rows, empty="")


def show_receipt(receipt: PurgeReceipt, *, as_json: bool) -> None:
    """Print what a purge removed from each store, and what it left."""
    if as_json:
        print_json(receipt)
        return
    print_fields(
        [
            ("tenant", receipt.slug),
            ("id", receipt.tenant_id),
            ("asked for", receipt.requested_at),
            ("begun", receipt.started_at),
            ("finished", receipt.finished_at),
            ("verified", "yes" if receipt.verified else "no"),
            ("audit entries", receipt.audit_entries),
            ("audit head", receipt.audit_head_hash),
        ]
    )
    click.echo()
    stores = sorted({*receipt.removed, *receipt.left})
    rows = ((store, receipt.removed.get(store, 0), receipt.left.get(store)) for store in stores)
    print_table((whole("store"), amount("removed"), amount("left")), rows, empty="Nothing is removed yet.")


def _each(quotas: Quotas) -> Iterator[tuple[str, int | None]]:
    yield from msgspec.structs.asdict(quotas).items()


def _limit(limit: int | None) -> object:
    return "no limit" if limit is None else limit


def _use_of(name: str, limit: int | None, use: Use) -> tuple[object, ...]:
    """Return a quota's row; its percentage is rounded down, so that 100 % is a quota that is used up."""
    counted = {
        "documents": use.documents,
        "storage_mb": use.storage_bytes,
        "searches_per_day": use.searches_today,
    }
    if name not in counted:
        return name, None, _limit(limit), None
    used, unit = counted[name], 2**20 if name == "storage_mb" else 1
    share = None if limit is None else used * 100 // (limit * unit) if limit else 100
    shown = used if unit == 1 else megabytes(used)
    return name, shown, _limit(limit), None if share is None else f"{share} %"
