"""What a call is: one request as data. No I/O happens here."""

import mimetypes
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar
from uuid import uuid4

import msgspec

T = TypeVar("T")


class FileUpload(msgspec.Struct, frozen=True):
    """A file on disk with its fields; it is opened anew for every attempt and streamed."""

    path: Path
    file_name: str
    form: dict[str, str]

    @property
    def media_type(self) -> str:
        """What the file is called by its name."""
        return media_type_of(self.file_name)


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One request and the type of its answer: None when its body does not matter, str when it is text."""

    method: str
    path: str
    answer: type[T]
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes | FileUpload | None = None
    repeatable: bool = False
    """Whether sending it twice does no more than sending it once."""
    extra_seconds: float = 0.0
    """How much longer than usual the answer may take."""
    accepted_statuses: frozenset[int] = frozenset()
    """Statuses beside 2xx whose body is an answer and no problem."""


def media_type_of(file_name: str) -> str:
    """Return the media type that a file's name tells of."""
    return mimetypes.guess_type(file_name)[0] or "application/octet-stream"


def get(path: str, answer: type[T], **params: object) -> Call[T]:
    """Read something; parameters that are None are left out."""
    return Call("GET", path, answer, params_of(**params), repeatable=True)


def post(
    path: str,
    body: Mapping[str, object] | None,
    answer: type[T],
    *,
    idempotency_key: str | None = None,
    extra_seconds: float = 0.0,
) -> Call[T]:
    """Change something. An idempotency key, made up when none is given, lets it be repeated."""
    return Call(
        "POST",
        path,
        answer,
        headers=keyed(idempotency_key),
        body=None if body is None else msgspec.json.encode(without_none(body)),
        repeatable=True,
        extra_seconds=extra_seconds,
    )


def keyed(idempotency_key: str | None) -> dict[str, str]:
    """Return the header that makes a repetition give the first answer."""
    return {"Idempotency-Key": idempotency_key or str(uuid4())}


def condition(if_match: int | None) -> dict[str, str]:
    """Return the header that lets a change happen only to the revision `if_match`."""
    return {} if if_match is None else {"If-Match": f'"{if_match}"'}


def params_of(**values: object) -> dict[str, str]:
    """Return query parameters as text, without those that are None."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def without_none(values: Mapping[str, object]) -> dict[str, object]:
    """Return the members of a body that say something."""
    return {name: value for name, value in values.items() if value is not None}
