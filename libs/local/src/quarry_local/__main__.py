"""`python -m quarry_local`: the commands of this package alone, and the supervisor's own."""

import os
import sys

import click

from quarry_local.commands import credentials, doctor, down, logs, stamp, status, up
from quarry_local.layout import find_layout
from quarry_local.supervisor import AlreadyRunningError, run


@click.group()
def main() -> None:
    """Run the platform on this machine."""


@main.command(hidden=True)
def supervise() -> None:
    """Start and supervise the platform in this process."""
    try:
        sys.exit(run(find_layout(), dict(os.environ), lambda line: click.echo(f"{stamp()} {line}")))
    except AlreadyRunningError as error:
        click.echo(error.data.detail)
        sys.exit(3)


for _command in (up, down, status, logs, doctor, credentials):
    main.add_command(_command)

if __name__ == "__main__":
    main()
