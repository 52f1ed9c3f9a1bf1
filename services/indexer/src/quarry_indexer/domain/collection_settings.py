"""What the settings of a collection mean for indexing, and which of them make no sense."""

from collections.abc import Iterator

import msgspec

from quarry_common.contracts.collections import MAX_SETTINGS_BYTES, CollectionSettings, SettingsPatch
from quarry_common.errors import FieldError, ValidationError


class Indexing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings that shape what is in the index; a change asks for indexing again."""

    chunk_tokens: int | None = None
    chunk_overlap: int | None = None
    title_boost: float = 1.0


class Limits(msgspec.Struct, frozen=True):
    """What settings depend on besides themselves."""

    chunk_tokens: int
    """Tokens of a chunk where a collection says nothing."""
    embedder_tokens: int
    """Tokens of a text that the embedder reads."""


def patched(settings: CollectionSettings, patch: SettingsPatch) -> CollectionSettings:
    """Return `settings` after a merge patch: null goes back to the default, what is left out stays."""
    default = CollectionSettings()
    given = {
        name: getattr(patch, name)
        for name in patch.__struct_fields__
        if getattr(patch, name) is not msgspec.UNSET
    }
    changes = {name: getattr(default, name) if value is None else value for name, value in given.items()}
    return msgspec.structs.replace(settings, **changes)


def changed(before: CollectionSettings, after: CollectionSettings) -> list[str]:
    """Return the names of the settings that differ."""
    return [name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name)]


def check(settings: CollectionSettings, limits: Limits) -> None:
    """Raise `ValidationError` with all that is wrong with `settings` beyond what their types tell."""
    errors = list(_wrong(settings, limits))
    if errors:
        count = "1 field is wrong." if len(errors) == 1 else f"{len(errors)} fields are wrong."
        raise ValidationError(count, errors=errors)


def _wrong(settings: CollectionSettings, limits: Limits) -> Iterator[FieldError]:
    if settings.chunk_tokens is not None and settings.chunk_tokens > limits.embedder_tokens:
        yield FieldError(
            "settings.chunk_tokens", f"must be at most {limits.embedder_tokens}: the embedder reads no more"
        )
    tokens = settings.chunk_tokens or limits.chunk_tokens
    if settings.chunk_overlap is not None and 2 * settings.chunk_overlap >= tokens:
        yield FieldError(
            "settings.chunk_overlap",
            f"is {settings.chunk_overlap} and must be less than half of chunk_tokens, which is {tokens}",
        )
    for place, group in enumerate(settings.synonyms):
        if len({" ".join(word.casefold().split()) for word in group}) < len(group):
            yield FieldError(f"settings.synonyms[{place}]", "must not name a word twice")
    size = len(msgspec.json.encode(settings))
    if size > MAX_SETTINGS_BYTES:
        yield FieldError("settings", f"must have at most {MAX_SETTINGS_BYTES} bytes as JSON, not {size}")
