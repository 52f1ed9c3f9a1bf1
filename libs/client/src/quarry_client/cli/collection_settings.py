"""Settings of a collection as options: read from a file, one by one, or both."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO, TypeVar, cast

import click

from quarry_client.types import SettingsChanges

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def settings_options(command: CommandT) -> CommandT:
    """Give a command the options that `read_settings` reads: `file` and `pairs`."""
    file = click.option(
        "--from",
        "file",
        type=click.File(encoding="utf-8"),
        help="JSON object of settings; - reads the input.",
    )
    pairs = click.option(
        "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="One setting, as JSON; may be repeated."
    )
    return file(pairs(command))


def read_settings(file: TextIO | None, pairs: Iterable[str]) -> SettingsChanges:
    """Return the settings of a file and of `name=value` pairs, which count more. Their values are JSON, or
    plain text where they are none; what settings there are, the API tells."""
    given = dict(_read_file(file) if file else {})
    given.update(_read_pair(pair) for pair in pairs)
    return cast("SettingsChanges", given)


def _read_file(file: TextIO) -> Mapping[str, object]:
    try:
        read = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}.", param_hint="--from") from error
    if not isinstance(read, dict):
        raise click.BadParameter('must be a JSON object like {"language": "de"}.', param_hint="--from")
    return read


def _read_pair(pair: str) -> tuple[str, object]:
    name, equals, text = pair.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{pair!r} is not of the form name=value.", param_hint="--set")
    try:
        return name, json.loads(text, parse_constant=str)
    except ValueError:
        return name, text
