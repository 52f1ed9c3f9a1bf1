"""The written reference knows every command and option."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from quarry_client.cli import main

REFERENCE = Path(__file__).parents[4] / "docs" / "cli.md"
EVERYWHERE = {"--json", "--url", "--api-key", "--tenant"}


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    for part, command in group.commands.items():
        path = f"{name} {part}"
        if isinstance(command, click.Group):
            yield from commands(command, path)
        else:
            yield path, command


@pytest.mark.parametrize(("path", "command"), list(commands(main, "quarry")))
def test_the_reference_tells_of_it(path: str, command: click.Command) -> None:
    text = REFERENCE.read_text()
    section = text.partition(f"\n## {path.split()[1]}\n")[2].partition("\n## ")[0] or text
    assert path in text
    options = [option for option in command.params if isinstance(option, click.Option)]
    missing = [
        option.name
        for option in options
        if not EVERYWHERE & set(option.opts)
        and not any(
            name in section for name in (*option.opts, *option.secondary_opts) if name.startswith("--")
        )
    ]
    assert missing == []
