"""`quarry audit`."""

import sys

import click

from quarry_client.cli.connection import json_option, with_client
from quarry_client.cli.output import amount, print_fields, print_json, print_table, whole
from quarry_client.cli.paging import take
from quarry_client.client import Client
from quarry_client.types import AUDIT_OUTCOMES, AuditEntry, AuditOutcomeName

installation_option = click.option(
    "--installation", is_flag=True, help="The installation's own log (with the operator's key)."
)


@click.group()
def audit() -> None:
    """Read the log of who did what, and verify that it is as it was written."""


@audit.command("list")
@click.option("--action", help="Only this, such as api_key.revoked, or all that was done to an api_key.")
@click.option("--outcome", type=click.Choice(AUDIT_OUTCOMES), help="Only what was done, or denied.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@installation_option
@json_option
@with_client(operator_if="installation")
def list_entries(
    client: Client,
    action: str | None,
    outcome: AuditOutcomeName | None,
    limit: int,
    installation: bool,
    as_json: bool,
) -> None:
    """List what was done and what was denied, latest first."""
    del installation  # it decides with which key the client was made

    def fetch(size: int, cursor: str | None) -> tuple[list[AuditEntry], str | None]:
        page = client.list_audit(action=action, outcome=outcome, limit=size, cursor=cursor)
        return page.entries, page.next_cursor

    found = list(take(limit, fetch))
    if as_json:
        print_json({"entries": found})
        return
    rows = ((e.number, e.at, e.actor.kind, _act(e), e.target) for e in found)
    columns = (amount("number"), whole("at"), whole("who"), "what", whole("to"))
    print_table(columns, rows, empty="The log has no such entries.")


@audit.command("verify")
@installation_option
@json_option
@with_client(operator_if="installation")
def verify(client: Client, installation: bool, as_json: bool) -> None:
    """Tell whether the log is as it was written; exits with 1 if not.

    Keep number and hash of its head elsewhere: a log that was written anew as a whole has others.
    """
    del installation  # it decides with which key the client was made
    verdict = client.verify_audit()
    if as_json:
        print_json(verdict)
    else:
        print_fields(
            [
                ("intact", "yes" if verdict.intact else "no"),
                ("entries", verdict.entries),
                ("head", verdict.head_number),
                ("hash of the head", verdict.head_hash),
                *([("first fault", verdict.first_fault)] if verdict.first_fault is not None else []),
                *([("fault", verdict.fault)] if verdict.fault else []),
            ]
        )
    if not verdict.intact:
        sys.exit(1)


def _act(entry: AuditEntry) -> str:
    return entry.action if entry.outcome == "done" else f"{entry.outcome}: {entry.action}"
