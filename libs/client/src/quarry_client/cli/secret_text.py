"""Reads what may be no argument: it would stand in the shell's history, and in the list of processes."""

import sys

import click


def read_secret(name: str) -> str:
    """Return what is typed at a terminal, unseen, or else the first line of the standard input.

    Raises click.UsageError when there is none.
    """
    if at_terminal():
        return str(click.prompt(name, hide_input=True, err=True)).strip()
    text = sys.stdin.readline().strip()
    if not text:
        raise click.UsageError(f"{name}: nothing came on the standard input.")
    return text


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()
