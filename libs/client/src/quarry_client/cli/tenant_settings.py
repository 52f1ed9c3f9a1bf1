"""Options that say what a tenant may have: its quotas, and the web pages that may call the API."""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")

_QUOTA: Final = re.compile(r"[0-9]{1,16}|unlimited|plan")

quota_option = click.option(
    "--quota",
    "quotas",
    multiple=True,
    metavar="NAME=N",
    help="Where it differs from its plan: a number, `unlimited` or, to go back, `plan`; may be repeated.",
)


def origins_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the options, and what they say as the argument `origins`: None when nothing."""

    @click.option(
        "--cors-origin",
        "named",
        multiple=True,
        metavar="ORIGIN",
        help="Web page whose scripts may call the API, such as https://www.acme.example; may be repeated.",
    )
    @click.option("--no-cors-origins", "none", is_flag=True, help="No web page's.")
    @functools.wraps(command)
    def chosen(named: tuple[str, ...], none: bool, *args: P.args, **kwargs: P.kwargs) -> R:
        if named and none:
            raise click.UsageError("--cors-origin and --no-cors-origins exclude each other.")
        origins = list(named) if named or none else None
        return command(*args, **kwargs, origins=origins)  # type: ignore[arg-type]  # click passes it by name

    return chosen  # type: ignore[return-value]


def read_quotas(pairs: Iterable[str], before: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return where a tenant differs from its plan: as `before`, and as the pairs NAME=N say."""
    changed = dict(before)
    for pair in pairs:
        name, _, text = pair.partition("=")
        if not name or not _QUOTA.fullmatch(text):
            raise click.BadParameter(
                f"{pair!r} is not of the form name=number, name=unlimited or name=plan.", param_hint="--quota"
            )
        if text == "plan":
            changed.pop(name, None)
        else:
            changed[name] = None if text == "unlimited" else int(text)
    return changed
