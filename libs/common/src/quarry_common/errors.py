"""One tree of errors. Each has a stable code, an HTTP status, a sentence for the person and what to do next.

An error is data: the same fields travel in an RPC error reply, in a job row and in an RFC 9457 problem.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with one field of a request."""

    field: str
    """Where: a dotted path into the body, or the name of a query or path parameter."""
    message: str
    """What is wrong and what would be right."""


class ErrorData(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it travels between processes and as it is stored."""

    code: str
    status: int
    title: str
    detail: str
    advice: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after_seconds: float | None = None


class QuarryError(Exception):
    """Base of every error that a person may see.

    Subclasses set `code` (stable, snake_case), `status` (HTTP), `title` (the same for every occurrence)
    and `advice` (what to do next); `detail` tells of this occurrence.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    advice: ClassVar[str] = "Try again; if it happens again, report the request id."

    def __init__(
        self,
        detail: str = "",
        *,
        advice: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.data = ErrorData(
            code=self.code,
            status=self.status,
            title=self.title,
            detail=detail or self.title,
            advice=self.advice if advice is None else advice,
            errors=tuple(errors),
            retry_after_seconds=retry_after_seconds,
        )


class RemoteError(QuarryError):
    """An error that another service reported; it keeps that service's code, status and sentences."""

    def __init__(self, data: ErrorData) -> None:
        super().__init__(data.detail)
        self.data = data


class ValidationError(QuarryError):
    """The request has fields that are missing, of the wrong type or out of range."""

    code = "validation_failed"
    status = 422
    title = "The request is not valid"
    advice = "Correct the fields named in `errors` and send the request again."


class MalformedError(QuarryError):
    """The request cannot be read at all: broken JSON, UTF-8 or multipart."""

    code = "malformed_request"
    status = 400
    title = "The request cannot be read"
    advice = "Send well-formed UTF-8 JSON or multipart/form-data with the matching Content-Type."


class UnauthenticatedError(QuarryError):
    """No key was given, or it is not valid."""

    code = "unauthenticated"
    status = 401
    title = "A valid API key is needed"
    advice = "Send the key in `X-API-Key` or `Authorization: Bearer`."


class ForbiddenError(QuarryError):
    """The key is valid but lacks the scope that the operation asks for."""

    code = "forbidden"
    status = 403
    title = "The key does not allow this"
    advice = "Use a key that has the scope named in `detail`."


class NotFoundError(QuarryError):
    """There is no such thing for this tenant; another tenant's things are no different from missing ones."""

    code = "not_found"
    status = 404
    title = "Not found"
    advice = "Check the id; it may have been deleted or belong to another tenant."


class ConflictError(QuarryError):
    """The request contradicts the present state."""

    code = "conflict"
    status = 409
    title = "The request conflicts with the present state"
    advice = "Read the present state and decide again."


class PreconditionFailedError(QuarryError):
    """What the caller made the change depend on is not true (any more)."""

    code = "precondition_failed"
    status = 412
    title = "The condition of the request is not met"
    advice = "Read the document again, take its present ETag and decide again."


class IdempotencyKeyReusedError(ValidationError):
    """The same key came with another request."""

    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"
    advice = "Use a new Idempotency-Key for each different request."


class IdempotencyKeyInFlightError(ConflictError):
    """The first request under this key is still being worked on."""

    code = "idempotency_key_in_flight"
    title = "The first request with this idempotency key is not finished"
    advice = "Send it again after the time in `Retry-After`; the answer will be that of the first."


class QuotaExceededError(QuarryError):
    """A counted limit of the tenant has been reached; `detail` names the quota."""

    code = "quota_exceeded"
    status = 429
    title = "A quota of the tenant has been reached"
    advice = "Delete what is no longer needed, or ask the operator for a higher quota."


class RateLimitedError(QuarryError):
    """A key or a tenant sends more requests of one class than it may; `detail` names the limit."""

    code = "rate_limited"
    status = 429
    title = "Too many requests"
    advice = "Send it again after the time in `Retry-After`, and spread further requests over time."


class PayloadTooLargeError(QuarryError):
    """The body is larger than the limit."""

    code = "payload_too_large"
    status = 413
    title = "The body is too large"
    advice = "Send a smaller file, or ask the operator to raise the limit."


class UnavailableError(QuarryError):
    """Something that the request needs does not answer; nothing was done by halves."""

    code = "unavailable"
    status = 503
    title = "The service cannot answer now"
    advice = "Try again after the time in `Retry-After`."


class DeadlineExceededError(UnavailableError):
    """The answer did not come within the time allowed."""

    code = "deadline_exceeded"
    status = 504
    title = "The answer took too long"
    advice = "Try again; narrow the request if it happens again."


def error_data(error: BaseException) -> ErrorData:
    """Return what may be told of `error`; an unforeseen one tells nothing of its inside."""
    if isinstance(error, QuarryError):
        return error.data
    return QuarryError().data
