"""`python -m quarry_client.cli` is the `quarry` command."""

from quarry_client.cli import main

main(prog_name="quarry")
