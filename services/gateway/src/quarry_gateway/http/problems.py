"""Errors as RFC 9457 problem details: the only form in which the gateway refuses anything."""

import logging
import math

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from quarry_common.errors import (
    ErrorData,
    FieldError,
    MalformedError,
    NotFoundError,
    PayloadTooLargeError,
    QuarryError,
    error_data,
)
from quarry_gateway.domain import Caller

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "/problems/"


class Problem(msgspec.Struct, frozen=True):
    """What went wrong, by RFC 9457, with what to do next and the fields that are wrong."""

    type: str
    """A page that tells of this kind of problem; `code` is its last segment."""
    title: str
    status: int
    code: str
    detail: str
    advice: str
    errors: tuple[FieldError, ...]
    request_id: str
    instance: str


class MethodNotAllowedError(QuarryError):
    """The path exists; the method does not."""

    code = "method_not_allowed"
    status = 405
    title = "The method is not allowed here"
    advice = "Use one of the methods named in `Allow`."


class UnsupportedMediaTypeError(QuarryError):
    """The body is of a type that the route does not read."""

    code = "unsupported_media_type"
    status = 415
    title = "The body's type is not supported"
    advice = "Send `Content-Type: application/json`; documents may also come as `multipart/form-data`."


class RequestTimeoutError(QuarryError):
    """The body stopped coming."""

    code = "request_timeout"
    status = 408
    title = "The body did not arrive in time"
    advice = "Send the request again without long pauses."


class IncompleteBodyError(QuarryError):
    """The body broke off: the connection was closed, or its chunks are not framed as HTTP/1.1 asks."""

    code = "incomplete_body"
    status = 400
    title = "The body is not complete"
    advice = "Send the request again, with the whole body."


class ItemProblem(msgspec.Struct, frozen=True):
    """What went wrong with one item of a request: a problem without what belongs to the request."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    advice: str
    errors: tuple[FieldError, ...]


def item_problem(data: ErrorData) -> ItemProblem:
    """Return the problem that tells of `data` for one item."""
    return ItemProblem(
        TYPE_PREFIX + data.code, data.title, data.status, data.code, data.detail, data.advice, data.errors
    )


def problem(data: ErrorData, *, request_id: str, instance: str) -> Problem:
    """Return the problem that tells of `data`."""
    return Problem(
        type=TYPE_PREFIX + data.code,
        title=data.title,
        status=data.status,
        code=data.code,
        detail=data.detail,
        advice=data.advice,
        errors=data.errors,
        request_id=request_id,
        instance=instance,
    )


def encode(data: ErrorData, *, request_id: str, instance: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of the answer that tells of `data`."""
    headers = {"content-type": CONTENT_TYPE}
    if data.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(data.retry_after_seconds)))
    elif data.status in {503, 504}:
        headers["retry-after"] = "2"
    if data.status == 401:
        headers["www-authenticate"] = 'Bearer realm="quarry"'
    return msgspec.json.encode(problem(data, request_id=request_id, instance=instance)), headers


def answer_error(request: Request[None, Caller, State], error: Exception) -> Response[bytes]:
    """Answer `error`; one that nobody foresaw is logged and tells nothing of its inside."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        data = _http_error(error, str(request.scope["method"]))
    else:
        data = error_data(error)
    if data.status >= 500 and not isinstance(error, QuarryError):
        log.error("a request failed", exc_info=error, extra={"code": data.code})
    body, more = encode(
        data, request_id=str(request.scope.get("request_id", "")), instance=request.scope["path"]
    )
    more.pop("content-type")
    return Response(body, status_code=data.status, headers=headers | more, media_type=CONTENT_TYPE)


def _http_error(error: HTTPException, method: str) -> ErrorData:
    match error.status_code:
        case 404:
            return NotFoundError(
                "There is no such path.", advice="See /docs for the paths that there are."
            ).data
        case 405:
            return MethodNotAllowedError(f"{method[:20]} is not among the methods of this path.").data
        case 413:
            return PayloadTooLargeError().data
        case 415:
            return UnsupportedMediaTypeError().data
        case status if 400 <= status < 500:
            return MalformedError().data
        case _:
            return QuarryError().data
