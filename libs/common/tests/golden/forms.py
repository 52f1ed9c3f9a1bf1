"""What events looked like when they were last agreed on. `python -m libs.common.tests.golden.forms` writes it
anew; what changes then is what subscribers will see, so that it belongs into the review."""

import json
from pathlib import Path
from typing import Any

from quarry_common.contracts.events import EXAMPLES, EventData, message_of, schema_of

FOLDER = Path(__file__).parent / "events"

Json = dict[str, Any]


def form_of(example: EventData) -> Json:
    """The schema of the data, and a whole message as it is sent."""
    return {"schema": schema_of(type(example)), "message": message_of(example)}


def path_of(event_type: str) -> Path:
    return FOLDER / f"{event_type}.json"


def agreed(event_type: str) -> Json | None:
    path = path_of(event_type)
    found: Json | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def write() -> None:
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for example in EXAMPLES:
        text = json.dumps(form_of(example), indent=2, ensure_ascii=False)
        path_of(example.type).write_text(text + "\n", encoding="utf-8")


def breaks(old: Any, new: Any, where: str = "data") -> list[str]:
    """Say where a reader of `old` would not bear `new`, or a reader of `new` not what `old` describes.

    Fields that need not be there and further values of an enumeration are borne; see docs/events.md.
    """
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [f"{where}: {old!r} is now {new!r}"]
    found = []
    for name in sorted({*old, *new} - {"description", "title", "$id", "default"}):
        before, after = old.get(name), new.get(name)
        place = f"{where}.{name}"
        if name == "properties":
            found += _fields(before or {}, after or {}, where)
        elif name == "required":
            more, fewer = set(after or ()) - set(before or ()), set(before or ()) - set(after or ())
            found += [f"{where}.{field} must be there, which older messages do not have" for field in more]
            found += [f"{where}.{field} need not be there any more" for field in fewer]
        elif name == "enum":
            found += [f"{where}: {value!r} is no value any more" for value in set(before) - set(after)]
        elif name == "$defs":
            # One that is new is seen where it is used.
            found += [x for each in before or {} for x in breaks(before[each], (after or {}).get(each), each)]
        else:
            found += breaks(before, after, place)
    return found


def _fields(old: Json, new: Json, where: str) -> list[str]:
    gone = [f"{where}.{name} is gone" for name in old.keys() - new.keys()]
    return gone + [
        x for name in old.keys() & new.keys() for x in breaks(old[name], new[name], f"{where}.{name}")
    ]


if __name__ == "__main__":
    write()
