"""What callers say of a document, and the rules that no type tells."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from quarry_common.contracts.documents import DocumentFields, DocumentPatch
from quarry_common.errors import FieldError
from quarry_gateway.forms.validation import below

INT64 = 1 << 63
OF_CONTENT: Final = ("content", "file_name", "media_type")
"""Fields of a document whose text comes with them; a file in a form tells its own name and type."""
_MEDIA_TYPES = {
    "markdown": "text/markdown",
    "md": "text/markdown",
    "html": "text/html",
    "json": "application/json",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "rst": "text/x-rst",
    "org": "text/x-org",
    "rtf": "application/rtf",
    "xml": "application/xml",
}


class DocumentForm(DocumentFields, frozen=True, forbid_unknown_fields=True):
    """A document as its owner sends it: what is said of it, and its text when no file comes with it."""

    content: Annotated[str, Meta(description="The text itself; leave it out when a file is sent.")] | None = (
        None
    )
    file_name: (
        Annotated[str, Meta(max_length=1000, description="Name of the file that the content is of.")] | None
    ) = None
    media_type: (
        Annotated[str, Meta(max_length=200, description="What the content is, such as `text/csv`.")] | None
    ) = None


class PatchForm(DocumentPatch, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of what is said of a document (RFC 7396): what is left out stays, null empties a field.

    `metadata` is merged name by name; null removes a name.
    """


def fields_of(form: DocumentForm) -> DocumentFields:
    """Return what `form` says of the document, without its text."""
    names = (field.name for field in msgspec.structs.fields(DocumentFields))
    return DocumentFields(**{name: getattr(form, name) for name in names})


def declared_type(form: DocumentForm) -> str:
    """Return the media type that `form` gives its text."""
    return form.media_type or _MEDIA_TYPES.get((form.doc_type or "").lower(), "text/plain")


def wrong_entries(raw: Mapping[str, object]) -> Iterable[FieldError]:
    """Return what is wrong with the metadata of a body, whatever else is wrong with it."""
    metadata = raw.get("metadata")
    return wrong_metadata(metadata) if isinstance(metadata, dict) else ()


def wrong_sense(form: DocumentForm, *, has_file: bool) -> list[FieldError]:
    """Return what is wrong with a document whose fields are of the right types."""
    errors = list(wrong_metadata(form.metadata))
    if has_file:
        given = (name for name in OF_CONTENT if getattr(form, name) is not None)
        errors += (FieldError(name, "must be left out when a file is sent") for name in given)
    if not has_file and not form.title.strip() and not (form.content or "").strip():
        errors.append(FieldError("content", "is missing; a document needs a title, a content or a file"))
    return errors


def wrong_metadata(metadata: Mapping[str, object], path: str = "metadata") -> Iterator[FieldError]:
    """Yield what is wrong with a document's metadata beyond its types: counts, lengths and number ranges."""
    if len(metadata) > 100:
        yield FieldError(path, "must have at most 100 names")
        return
    for name, value in metadata.items():
        if not 1 <= len(name) <= 100:
            yield FieldError(below(path, name), "must have a name of 1 to 100 characters")
        items = value if isinstance(value, list) else [value]
        if len(items) > 1000:
            yield FieldError(below(path, name), "must have at most 1000 values")
            continue
        for item in items:
            if isinstance(item, str) and len(item) > 10_000:
                yield FieldError(below(path, name), "must be at most 10000 characters long")
            elif isinstance(item, int) and not -INT64 <= item < INT64:
                yield FieldError(below(path, name), "must be an integer of at most 64 bits")
            elif isinstance(item, float) and not math.isfinite(item):
                yield FieldError(below(path, name), "must be a finite number")
