"""Writes docs/configuration.md from the settings themselves: `python -m quarry_common.reference`."""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from quarry_common.commands import MigrateSettings
from quarry_common.service import definitions
from quarry_common.settings import Settings

HEAD = """# Configuration

Every setting is an environment variable, checked when a process starts: a wrong one ends it with a sentence
that says which and why. A secret may come from a file instead: `NAME_FILE` names it. This page is generated
from the settings; change it with `make docs`.

| variable | default | allowed | meaning | used by |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    kinds: dict[str, type[Settings]] = {name: found.settings for name, found in definitions().items()}
    kinds["migrate"] = MigrateSettings
    users: dict[str, list[str]] = defaultdict(list)
    fields: dict[str, FieldInfo] = {}
    for user, kind in kinds.items():
        for name, field in kind.model_fields.items():
            users[name].append(user)
            fields[name] = field
    return HEAD + "".join(_row(name, fields[name], users[name]) for name in sorted(fields))


def _row(name: str, field: FieldInfo, users: list[str]) -> str:
    default = (
        field.get_default(call_default_factory=False) if field.default_factory is None else "see meaning"
    )
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if field.is_required():
        default = "see meaning"
    shown = f"`{_text(default)}`" if default not in {"", None, "see meaning"} else str(default or "none")
    if field.is_required():
        shown = "must be given"
    return f"| `{name.upper()}` | {shown} | {_allowed(field)} | {field.description} | {', '.join(users)} |\n"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(field: FieldInfo) -> str:
    parts = []
    for bound in field.metadata:
        for sign, name in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
            if (value := getattr(bound, name, None)) is not None:
                parts.append(f"{sign} {value}")
    if not parts:
        parts = [f"`{_text(choice)}`" for choice in get_args(field.annotation)]
    return ", ".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
