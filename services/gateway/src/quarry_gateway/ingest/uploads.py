"""Uploads: multipart/form-data read as a stream, the file going straight into the blob store."""

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from quarry_common.blobs import TenantBlobs, folder_of
from quarry_common.contracts.documents import BlobRef
from quarry_common.errors import FieldError, MalformedError, PayloadTooLargeError
from quarry_common.ids import new_id
from quarry_gateway.forms.validation import refuse

FILE: Final = "file"
JSON_FIELDS: Final = frozenset({"tags", "metadata", "allowed_principals"})
MAX_PARTS: Final = 20
MAX_FIELD_BYTES: Final = 1 << 20
MAX_BOUNDARY: Final = 200
MAX_FILE_NAME: Final = 255
FORM_OVERHEAD_BYTES: Final = 4 << 20
"""What a form may hold besides its file."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


class Form(msgspec.Struct):
    """A form that was read: its fields as JSON values, and its file where it was put."""

    fields: dict[str, object]
    blob: BlobRef | None


class FormReader:
    """Reads one form part by part. On any error the file that was put is for the caller to delete."""

    def __init__(self, body: AsyncIterator[bytes], boundary: str, *, max_content_bytes: int) -> None:
        if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
            raise MalformedError("The Content-Type names no usable boundary.")
        self._body = body
        self._max_content_bytes = max_content_bytes
        self._parser = PushMultipartParser(
            boundary, max_segment_count=MAX_PARTS, max_header_size=8192, header_charset="utf8"
        )
        self._events: deque[MultipartSegment | bytes | None] = deque()
        self._errors: list[FieldError] = []

    async def read(self, blobs: TenantBlobs, path: str, *, max_file_bytes: int) -> Form:
        """Return the form; its file, wherever among the fields it stands, is put at `path`.

        Raises `MalformedError`, `PayloadTooLargeError`, `ValidationError`, and what body and store raise.
        """
        form = Form({}, None)
        while (segment := await self._next_part()) is not None:
            if segment.name == FILE and form.blob is None:
                stored = await blobs.put_stream(path, self._part(), max_bytes=max_file_bytes)
                form.blob = BlobRef(
                    path=stored.path,
                    size_bytes=stored.size_bytes,
                    sha256=stored.sha256,
                    file_name=clean_file_name(segment.filename or ""),
                    declared_type=(segment.content_type or "")[:200],
                )
            elif segment.name == FILE or segment.name in form.fields:
                self._errors.append(FieldError(segment.name, "is given more than once"))
                await self._text(segment.name)
            else:
                form.fields[segment.name] = self._value(segment.name, await self._text(segment.name))
        return form

    def refuse_errors(self) -> None:
        """Raise `ValidationError` with what was wrong in single parts."""
        refuse(self._errors)

    async def _next_part(self) -> MultipartSegment | None:
        event = await self._event()
        if event is not None and not isinstance(event, MultipartSegment):
            raise MalformedError("The form's parts are out of order.")
        return event

    def _part(self) -> "_Part":
        return _Part(self._event)

    async def _text(self, name: str) -> str:
        limit = self._max_content_bytes if name == "content" else MAX_FIELD_BYTES
        text = bytearray()
        async for piece in self._part():
            text += piece
            if len(text) > limit:
                raise PayloadTooLargeError(f"The part {name[:100]!r} is larger than {limit} bytes.")
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            self._errors.append(FieldError(name, "is not UTF-8"))
            return ""

    def _value(self, name: str, text: str) -> object:
        if name not in JSON_FIELDS:
            return text
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            example = json.dumps({"year": 2024} if name == "metadata" else ["one", "two"])
            self._errors.append(FieldError(name, f"must be JSON, such as {example}"))
            return {} if name == "metadata" else []

    async def _event(self) -> MultipartSegment | bytes | None:
        """Return the next event; at the end of the form, and of each part, None."""
        try:
            while not self._events:
                if self._parser.closed:
                    return None
                chunk = await anext(self._body, b"")
                if chunk:
                    self._events.extend(self._parser.parse(chunk))
                else:
                    self._parser.close()
        except ParserLimitReached as error:
            raise PayloadTooLargeError(f"The form cannot be read: {error}.") from None
        except UnicodeDecodeError:
            raise MalformedError("The form cannot be read: it is not UTF-8.") from None
        except MultipartError as error:
            # What follows the first argument is another exception, which tells of the parser's inside.
            raise MalformedError(f"The form cannot be read: {error.args[0]}.") from None
        return self._events.popleft()


class _Part:
    """What one part holds, piece by piece; no generator, for an upload may drop it in the middle."""

    def __init__(self, event: Callable[[], Awaitable[MultipartSegment | bytes | None]]) -> None:
        self._event = event

    def __aiter__(self) -> "_Part":
        return self

    async def __anext__(self) -> bytes:
        event = await self._event()
        if not isinstance(event, bytes | bytearray):
            raise StopAsyncIteration
        return bytes(event)


def upload_path(tenant_id: UUID) -> str:
    """Return a new place in the blob store for something that a tenant uploads."""
    return f"{folder_of(tenant_id)}/uploads/{new_id()}"


def clean_file_name(name: str) -> str:
    """Return the last component of `name` without characters that cannot be shown, at most 255 long."""
    last = re.split(r"[/\\]", name)[-1]
    return _UNPRINTABLE.sub("", last).strip()[:MAX_FILE_NAME]
