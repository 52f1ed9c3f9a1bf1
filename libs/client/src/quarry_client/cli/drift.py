"""`quarry drift`: for platform operators."""

import sys

import click
import msgspec

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import print_fields, print_json
from quarry_client.client import Client


@click.command()
@click.option("--repair", is_flag=True, help="Mend what is found.")
@json_option
@with_client(operator=True, of_tenant=True)
def drift(client: Client, repair: bool, as_json: bool) -> None:
    """Compare a tenant's vectors with its documents (with the operator's key).

    Exits with 1 when something is amiss and was not mended.
    """
    report = client.repair_index() if repair else client.inspect_index()
    amiss = report.missing + report.surplus + report.hidden
    if as_json:
        print_json(report)
    else:
        print_fields(
            (name.replace("_", " "), value) for name, value in msgspec.structs.asdict(report).items()
        )
        click.echo(_told(amiss, repaired=report.repaired))
    if amiss and not report.repaired:
        sys.exit(1)


def _told(amiss: int, *, repaired: bool) -> str:
    if not amiss:
        return "Vectors and documents are in step."
    if repaired:
        return "What was amiss is mended, or its documents are queued to be indexed again."
    return "Vectors and documents are not in step: `quarry drift --repair` mends it."
