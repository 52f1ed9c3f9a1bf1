"""What can go wrong between a caller and the API: one small tree, each error with what to do next."""

from collections.abc import Sequence

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ClientError(Exception):
    """Base of every error that the client raises; `detail` tells what happened, `advice` what to do."""

    def __init__(self, detail: str, advice: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice


class UnreachableError(ClientError):
    """No answer came: the connection was refused, broke, or took too long, and the retries have ended."""


class UnreadableAnswerError(ClientError):
    """An answer came that this API does not give; something else may be listening at the address."""


class MissedEventsError(ClientError):
    """Events that happened may not be told: they are not kept any more where they were read from."""


class ApiError(ClientError):
    """The API refused a request and told why in a problem document (RFC 9457).

    `retry_after_seconds` is when it may be worth asking again, where the API told.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        advice: str = "",
        errors: Sequence[FieldError] = (),
        request_id: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail, advice)
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
