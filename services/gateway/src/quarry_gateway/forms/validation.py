"""Reading what callers send: all that is wrong is told at once, by field.

Good input takes one pass of msgspec. Only what that refuses is taken apart and checked field by field.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, islice
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl, unquote_to_bytes
from uuid import UUID

import msgspec

from quarry_common.errors import FieldError, MalformedError, NotFoundError, ValidationError

StructT = TypeVar("StructT", bound=msgspec.Struct)

MAX_ERRORS = 100
MAX_LOOKED_AT = 10_000
"""Items of a list that are looked at one by one; of a longer one the first error is told."""
MAX_QUERY_FIELDS = 50
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUL_ESCAPE = b"\\u0000"
_NUL = re.compile(rb"(\\+)u0000")
"""The escape, with the backslashes before it: an even number of them is text that only looks like it."""
_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "uuid": "a UUID",
    "date": "a day, such as 2026-01-31",
    "datetime": "a time in ISO 8601 with a zone, such as 2026-01-31T12:00:00Z",
}


Rules = Callable[[Mapping[str, object]], Iterable[FieldError]]
"""Tells what is wrong with a body beyond the types of its members, whatever those are."""


def no_rules(raw: Mapping[str, object]) -> Iterable[FieldError]:  # noqa: ARG001 - a rule for any body
    """Find nothing wrong."""
    return ()


def decode_json(body: bytes, kind: type[StructT], rules: Rules = no_rules) -> StructT:
    """Return `body` as `kind`. A body of wrong types is held against `rules`, too, so that all is told.

    Raises `MalformedError` when it is not JSON in UTF-8, and `ValidationError` that names every wrong field.
    """
    try:
        # Text with a NUL cannot be stored; it can only be written as an escape, which is rare.
        if _NUL_ESCAPE not in body:
            return msgspec.json.decode(body, type=kind)
    except RecursionError:
        raise MalformedError("The JSON is nested too deeply.") from None
    except (msgspec.ValidationError, OverflowError):
        pass
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"The body is not JSON: {error}.") from None
    return check(_raw(body), kind, rules=rules)


def check(raw: object, kind: type[StructT], *, texts: bool = False, rules: Rules = no_rules) -> StructT:
    """Return `raw`, the members of a JSON object, as `kind`.

    With `texts` every value came as text, as in a query string. Raises `ValidationError` with all errors.
    """
    if not isinstance(raw, Mapping):
        raise ValidationError("The body must be a JSON object.", errors=[FieldError("", "must be an object")])
    # What is wrong everywhere in a large body is not worth more than the first errors.
    errors = list(islice(_wrong_members(raw, kind, "", strict=not texts), MAX_ERRORS + 1))
    errors += wrong_text({name: raw[name] for name in kind.__struct_encode_fields__ if name in raw})
    if errors:
        named = {error.field for error in errors}
        more = (error for error in rules(raw) if error.field not in named)
        refuse([*errors, *islice(more, MAX_ERRORS)])
    if texts:
        types = {field.encode_name: _present(field.type) for field in msgspec.structs.fields(kind)}
        raw = {name: msgspec.convert(value, types[name], strict=False) for name, value in raw.items()}
    return msgspec.convert(raw, kind)


def first_error(raw: object, kind: type[StructT]) -> FieldError:
    """Return the first of the things that are wrong with `raw` as `kind`, at the cost of one look."""
    text, where = _complaint(raw, kind, strict=True)
    return FieldError(where.lstrip("."), _sentence(text, kind))


def refuse(errors: list[FieldError]) -> None:
    """Raise `ValidationError` with `errors`, when there are any."""
    if not errors:
        return
    count = len(errors)
    detail = "1 field is wrong." if count == 1 else f"{count} fields are wrong."
    if count > MAX_ERRORS:
        detail = f"More than {MAX_ERRORS} fields are wrong; these are the first."
    raise ValidationError(detail, errors=errors[:MAX_ERRORS])


def decode_query(query_string: bytes, kind: type[StructT]) -> StructT:
    """Return the parameters of a query string as `kind`. Raises as `decode_json`."""
    if not query_string:
        return check({}, kind, texts=True)
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
        )
    except ValueError:
        raise MalformedError(
            "The query string cannot be read.", advice="Percent-encode its parameters as UTF-8."
        ) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        refuse([FieldError(name, "is given more than once") for name in values if names.count(name) > 1])
    return check(values, kind, texts=True)


def path_uuid(value: str, name: str) -> UUID:
    """Return the id in a path. Raises `ValidationError` when it is none."""
    if not _UUID.fullmatch(value):  # UUID() takes braces, line breaks and digits of any script, too
        raise ValidationError("The id is not valid.", errors=[FieldError(name, "must be a UUID")])
    return UUID(value)


def path_text(raw_path: bytes, prefix: str) -> str:
    """Return what stands after `prefix` in an undecoded path: slashes at its ends and doubled ones count.

    Raises `NotFoundError` for a path that only leads here when doubled slashes in the prefix do not count.
    """
    path = unquote_to_bytes(raw_path.partition(b"?")[0]).decode("utf-8")
    if not path.startswith(prefix):
        raise NotFoundError("There is no such path.", advice=f"The path begins with {prefix}.")
    return path[len(prefix) :]


def _raw(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise MalformedError("The JSON is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"The body is not JSON: {error}.") from None


def wrong_text(members: Mapping[str, object]) -> Iterator[FieldError]:
    """Yield the members with U+0000 in a text or a name of theirs, however deep it is."""
    for name, value in members.items():
        # Written anew, since going through a large value piece by piece would keep everybody waiting.
        escapes = _NUL.findall(msgspec.json.encode(value))
        if any(len(escape) % 2 for escape in escapes):
            yield FieldError(name, "must not hold the character U+0000")


def _wrong_members(
    raw: Mapping[str, object], kind: type[msgspec.Struct], path: str, *, strict: bool
) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in raw:
            wanted = field.type if strict else _present(field.type)
            yield from _wrong_value(raw[name], wanted, below(path, name), strict=strict)
        elif field.required:
            yield FieldError(below(path, name), "is missing")
    for name in raw:
        if name not in fields:
            yield FieldError(below(path, name), f"is not known; known are {', '.join(fields)}")


def _present(kind: Any) -> Any:
    """Return `kind` without None: what stands in a text is there, were it the word `null`."""
    if get_origin(kind) is Annotated:
        bare, *more = get_args(kind)
        return Annotated[(_present(bare), *more)]
    if get_origin(kind) not in {Union, UnionType}:
        return kind
    return Union[tuple(part for part in get_args(kind) if part is not NoneType)]  # noqa: UP007 - of a tuple


def _wrong_value(value: object, kind: Any, path: str, *, strict: bool) -> Iterator[FieldError]:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if isinstance(value, Mapping) and isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        yield from _wrong_members(value, bare, path, strict=strict)
        return
    # A number would be read as seconds since 1970, which no text here means.
    text, where = _complaint(value, kind, strict=strict or bare is datetime)
    if not text:
        return
    if isinstance(value, list) and get_origin(bare) is list and len(value) <= MAX_LOOKED_AT:
        (item_kind,) = get_args(bare)
        each = (
            _wrong_value(item, item_kind, f"{path}[{index}]", strict=strict)
            for index, item in enumerate(value)
        )
        first = next(errors := chain.from_iterable(each), None)
        if first is not None:
            yield first
            yield from errors
            return
    yield FieldError(path + where, _sentence(text, bare))


def _complaint(value: object, kind: Any, *, strict: bool) -> tuple[str, str]:
    """Return what msgspec says of `value`, and of which place in it; nothing when it is of its kind."""
    try:
        msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, OverflowError) as error:
        text, _, where = str(error).partition(" - at `$")
        return text, where.rstrip("`").replace("[...]", "")
    return "", ""


def _sentence(text: str, kind: object) -> str:
    """Turn msgspec's message into one that speaks of JSON and tells what would be right."""
    if text.startswith("Invalid enum value"):
        choices = [item for part in (kind, *get_args(kind)) for item in _choices(part)]
        return f"must be one of {', '.join(choices)}" if choices else "is not one of the known values"
    for pattern, sentence in _SENTENCES:
        if match := pattern.fullmatch(text):
            return sentence(match)
    return text[:1].lower() + text[1:]


def _kinds_named(match: re.Match[str]) -> str:
    wanted = " or ".join(_NAMES.get(part.strip(), part.strip()) for part in match[1].split("|"))
    return f"must be {wanted}" + (f", not {_NAMES.get(match[2], match[2])}" if match[2] else "")


_COMPARED = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}
_SENTENCES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Expected `\w+` of length >= 1"), lambda _: "must not be empty"),
    (
        re.compile(r"Expected `(\w+)` of length (<=|>=) (\d+)"),
        lambda match: f"must be {_COMPARED[match[2]]} {match[3]} {_unit(match[1])} long",
    ),
    (
        re.compile(r"Expected `(?:int|float)` (<=|>=|<|>) (\S+)"),
        lambda match: f"must be {_COMPARED[match[1]]} {match[2]}",
    ),
    (re.compile(r"Expected `str` matching regex '(.*)'"), lambda match: f"must match {match[1]}"),
    (re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?"), _kinds_named),
    (re.compile(r"Invalid RFC3339 encoded (date|datetime)"), lambda match: f"must be {_NAMES[match[1]]}"),
    (re.compile(r"Invalid (\w+)"), lambda match: f"must be {_NAMES.get(match[1].lower(), match[1])}"),
)


def _unit(kind: str) -> str:
    return {"str": "characters", "array": "items"}.get(kind, "members")


def _choices(kind: object) -> list[str]:
    return [str(item) for item in getattr(kind, "__members__", {}).values()]


def below(path: str, name: str) -> str:
    """Return the dotted path of the member `name`."""
    shown = name if len(name) <= 100 else name[:100] + "…"
    return f"{path}.{shown}" if path else shown
