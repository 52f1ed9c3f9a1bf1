"""`quarry domains`."""

import sys

import click

from quarry_client.cli.connection import json_option, with_client, yes_option
from quarry_client.cli.output import print_fields, print_json, print_table, tell
from quarry_client.client import Client
from quarry_client.types import Domain


@click.group()
def domains() -> None:
    """Claim, check, list and give up the tenant's own domains."""


@domains.command("add")
@click.argument("name")
@json_option
@with_client()
def add_domain(client: Client, name: str, as_json: bool) -> None:
    """Claim a domain and show the record that proves it."""
    claim = client.add_domain(name)
    if as_json:
        print_json(claim)
        return
    _show(claim)
    if claim.state != "verified":
        click.echo(f"Put the record into the DNS, then run `quarry domains check {claim.name}`.", err=True)


@domains.command("check")
@click.argument("name")
@json_option
@with_client()
def check_domain(client: Client, name: str, as_json: bool) -> None:
    """Look for a domain's record now; exits with 1 unless it is there."""
    found = client.check_domain(name)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if found.problem or found.state != "verified":
        sys.exit(1)


@domains.command("list")
@json_option
@with_client()
def list_domains(client: Client, as_json: bool) -> None:
    """List the tenant's domains."""
    found = client.list_domains()
    if as_json:
        print_json(found)
        return
    rows = ((d.name, d.state, d.verified_at, d.checked_at, d.problem) for d in found.domains)
    print_table(("name", "state", "verified", "checked", "problem"), rows, empty="There are no domains.")


@domains.command("remove")
@click.argument("name")
@yes_option
@json_option
@with_client()
def remove_domain(client: Client, name: str, yes: bool, as_json: bool) -> None:
    """Give a domain up: it stands for the tenant no more, everywhere within 5 seconds."""
    if not yes:
        click.confirm(f"Give up the domain {name}?", abort=True, err=True)
    tell(client.remove_domain(name), f"Removed {name}.", as_json=as_json)


def _show(domain: Domain) -> None:
    fields: list[tuple[str, object]] = [
        ("name", domain.name),
        ("state", domain.state),
        ("record", f"{domain.record_name} TXT"),
        ("value", domain.record_value),
    ]
    if domain.problem:
        fields.append(("problem", domain.problem))
    print_fields(fields)
