"""Conditional requests: an ETag is a document's or an endpoint's revision in quotes (RFC 9110, sections
8.8.3 and 13.1)."""

import re
from typing import Final

from quarry_common.contracts.documents import Condition
from quarry_common.errors import FieldError, ValidationError
from quarry_gateway.gateway import Call
from quarry_gateway.http.operations import Header

MAX_TAGS: Final = 100
ANY: Final = "*"
_TAG = r'(?:W/)?"[\x21\x23-\x7e]{0,100}"'
_TAGS: Final = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_REVISION: Final = re.compile(r'"([0-9]{1,18})"')

ETAG: Final = Header(
    "ETag",
    "The document's revision; send it in `If-Match` to change just this state.",
    {"type": "string", "examples": ['"7"']},
)
IF_MATCH: Final = Header(
    "If-Match",
    'Change the document only while its ETag is one of these, such as `"7"`; `*` only if it exists. '
    "Otherwise the answer is 412.",
    {
        "type": "string",
        "pattern": r'^(\*|"[0-9]{1,18}"(, "[0-9]{1,18}"){0,9})$',
        "examples": ['"7"'],
    },
)
ENDPOINT_ETAG: Final = Header(
    "ETag",
    "The endpoint's revision; send it in `If-Match` to change just this state.",
    {"type": "string", "examples": ['"7"']},
)
IF_MATCH_ENDPOINT: Final = Header(
    "If-Match",
    'Change the endpoint only while its ETag is one of these, such as `"7"`. Otherwise the answer is 412.',
    IF_MATCH.schema,
)
IF_NONE_MATCH: Final = Header(
    "If-None-Match",
    "`*`: only create; when there is such a document, the answer is 412.",
    {"type": "string", "enum": [ANY]},
)


def etag(revision: int) -> str:
    """Return the ETag of a document at `revision`."""
    return f'"{revision}"'


def condition_of(request: Call, *, may_create: bool = False) -> Condition | None:
    """Return what must be true for `request` to be done; None when it does not say.

    `may_create` lets it ask that there be no document yet. Raises `ValidationError` for what is no condition.
    """
    wanted = _header(request, IF_MATCH)
    unwanted = _header(request, IF_NONE_MATCH) if may_create else None
    if unwanted is not None and wanted is not None:
        raise _wrong(IF_NONE_MATCH, "contradicts If-Match; send one of the two")
    if unwanted is not None:
        if unwanted != ANY:
            raise _wrong(IF_NONE_MATCH, "must be *, which asks that there be no such document yet")
        return Condition(missing=True)
    if wanted is None:
        return None
    return Condition(None if wanted == ANY else _revisions(wanted))


def _revisions(text: str) -> list[int]:
    """Return the revisions among the tags; one that was never answered, or a weak one, matches nothing."""
    if not _TAGS.fullmatch(text) or text.count(",") >= MAX_TAGS:
        raise _wrong(
            IF_MATCH, 'must be * or ETags as they were answered, in double quotes, such as "7" or "7", "8"'
        )
    tags = (tag.strip() for tag in text.split(","))
    return [int(match[1]) for tag in tags if (match := _REVISION.fullmatch(tag))]


def _header(request: Call, header: Header) -> str | None:
    # A list may come in several headers of one name.
    values = request.headers.getall(header.name, ())
    return ", ".join(values).strip() if values else None


def _wrong(header: Header, message: str) -> ValidationError:
    return ValidationError(
        f"The header {header.name} is not valid.",
        errors=[FieldError(header.name, message)],
        advice="Send the ETag as the last answer about the document had it, quotes included.",
    )
