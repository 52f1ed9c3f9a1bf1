"""Option values that need reading: metadata, ids and filters."""

import json
from collections.abc import Iterable

import click

from quarry_client.types import Filter, MetadataScalar


def parse_metadata(pairs: Iterable[str]) -> dict[str, MetadataScalar]:
    """Read `name=value` pairs; numbers, true, false, null and quoted strings are read as JSON."""
    return dict(_parse_pair(pair) for pair in pairs)


def _parse_pair(pair: str) -> tuple[str, MetadataScalar]:
    name, equals, text = pair.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{pair!r} is not of the form name=value.", param_hint="--metadata")
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return name, text
    return name, value if value is None or isinstance(value, (str, int, float, bool)) else text


def parse_filter(text: str | None, collections: Iterable[str] = ()) -> Filter | None:
    """Read a filter given as JSON, and narrow it to `collections`."""
    filters: Filter | None = None
    if text is not None:
        try:
            filters = json.loads(text)
        except ValueError as error:
            raise click.BadParameter(f"not JSON: {error}.", param_hint="--filter") from error
        if not isinstance(filters, dict):
            raise click.BadParameter('must be a JSON object like {"tags": ["law"]}.', param_hint="--filter")
    named = list(collections)
    if not named:
        return filters
    within: Filter = {"collection": named}
    return {"and": [filters, within]} if filters else within
