"""Reads what the server sent back: an answer of the expected type, or an error that says what to do."""

from typing import TypeVar, cast

import httpx
import msgspec

from quarry_client.calls import Call
from quarry_client.errors import ApiError, UnreadableAnswerError
from quarry_client.retry import parse_retry_after
from quarry_client.types import Accepted, Job, Problem

T = TypeVar("T")

WRONG_SERVER_ADVICE = (
    "Check that the URL is that of Quarry's API and that client and server are of one release."
)


def read_answer(call: Call[T], response: httpx.Response) -> T:
    """Return the answer to `call`.

    Raises ApiError for a problem document, UnreadableAnswerError for a body that is not of the API.
    """
    if not response.is_success and response.status_code not in call.accepted_statuses:
        raise _api_error(call, response)
    if call.answer is type(None):
        return call.answer()
    if call.answer is str:
        return cast(T, response.text)
    try:
        if call.answer is Accepted and response.status_code == httpx.codes.OK and "wait" in call.params:
            return cast(T, _waited_for(response))
        return msgspec.json.decode(response.content, type=call.answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableAnswerError(
            f"The answer to {call.method} {response.url} is not readable: {error}.", WRONG_SERVER_ADVICE
        ) from error


def _waited_for(response: httpx.Response) -> Accepted:
    """Who waits is answered with the job when it has succeeded; the `ETag` is the document's revision."""
    try:
        return msgspec.json.decode(response.content, type=Accepted)
    except msgspec.ValidationError:
        job = msgspec.json.decode(response.content, type=Job)
        return Accepted(job.document_id, job.id, job.version, revision=_revision(response))


def _revision(response: httpx.Response) -> int:
    """Return the revision that the `ETag` names; 0 without one."""
    tag = response.headers.get("etag", "").removeprefix("W/").strip('"')
    return int(tag) if tag.isdecimal() and len(tag) < 19 else 0


def read_problem(response: httpx.Response) -> Problem | None:
    """Return the problem document in `response`, or None when there is none."""
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return problem if problem.detail or problem.title else None


def api_error(problem: Problem, retry_after_seconds: float | None = None) -> ApiError:
    """Return the error that a problem document tells of."""
    return ApiError(
        problem.status,
        problem.code or f"http_{problem.status}",
        problem.detail or problem.title,
        problem.advice,
        problem.errors,
        problem.request_id,
        retry_after_seconds,
    )


def _api_error(call: Call[T], response: httpx.Response) -> ApiError:
    problem = read_problem(response)
    request_id = response.headers.get("x-request-id", "")
    retry_after_seconds = parse_retry_after(response.headers.get("retry-after"))
    if problem is None:
        said = f"{response.status_code} {response.reason_phrase}".strip()
        return ApiError(
            response.status_code,
            f"http_{response.status_code}",
            f"{call.method} {response.url} was answered with {said} and no explanation.",
            WRONG_SERVER_ADVICE,
            request_id=request_id,
            retry_after_seconds=retry_after_seconds,
        )
    told = msgspec.structs.replace(
        problem, status=response.status_code, request_id=problem.request_id or request_id
    )
    return api_error(told, retry_after_seconds)
