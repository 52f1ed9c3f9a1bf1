"""What the description tells of answers: those of an operation, and problems."""

from http import HTTPStatus
from typing import Any, Final

from quarry_gateway.http.operations import PUBLIC, Header, Operation
from quarry_gateway.http.problems import CONTENT_TYPE

Json = dict[str, Any]

REF: Final = "#/components/schemas/{name}"
REQUEST_ID: Final = {"X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id."}}
_DETAILS: Final = {
    400: ("malformed_request", "The body is not JSON: JSON is malformed."),
    401: ("unauthenticated", "The request carries no API key."),
    403: ("forbidden", "The operation needs the scope `documents:write`."),
    404: ("not_found", "There is no such document."),
    408: ("request_timeout", "Nothing arrived for 30 s."),
    409: ("conflict", "The external id is taken."),
    412: ("precondition_failed", "The document is at revision 8."),
    413: ("payload_too_large", "The file is larger than 512 MiB."),
    415: ("unsupported_media_type", "The route reads application/json in UTF-8."),
    422: ("validation_failed", "1 field is wrong."),
    429: ("quota_exceeded", "The tenant's quota of documents is used up."),
    500: ("internal_error", "Internal error"),
    503: ("unavailable", "The indexer service is not running."),
    504: ("deadline_exceeded", "The indexer service did not answer within 10 s."),
}


def structs_of(reply: object) -> tuple[Any, ...]:
    """Return the types of a JSON answer; none when it is not JSON."""
    if isinstance(reply, str):
        return ()
    return reply if isinstance(reply, tuple) else (reply,)


def replies_of(operation: Operation, template: str, schemas: Json) -> Json:
    """Return what an operation may answer, by status; `schemas` are by the types' names."""
    found: Json = {}
    for status, kind in operation.replies.items():
        headers = dict(REQUEST_ID)
        if status < 400:
            headers |= {header.name: _header(header) for header in operation.reply_headers}
        media = kind if isinstance(kind, str) else "application/json"
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": headers,
            "content": {media: _content(operation, kind, schemas)}
            | {other: {"schema": {"type": "string"}} for other in operation.other_types if status < 400},
        }
    for status in sorted(_error_statuses(operation, template)):
        found.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    return found


def _content(operation: Operation, kind: object, schemas: Json) -> Json:
    choices = [schemas[repr(one)] for one in structs_of(kind)]
    if choices:
        return {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}}
    if operation.reply_example is None:
        return {"schema": {}}
    return {"schema": operation.reply_schema or {"type": "string"}, "example": operation.reply_example}


def _header(header: Header) -> Json:
    return {"description": header.description, "schema": header.schema}


def _error_statuses(operation: Operation, template: str) -> set[int]:
    statuses = {400, 500, 503, *operation.errors}
    if operation.access != PUBLIC:
        statuses |= {401, 403, 404, 422, 504}  # an operator's X-Tenant may be unknown or missing
    if operation.query is not None or "{" in template:
        statuses.add(422)
    if operation.body is not None:
        statuses |= {408, 413, 415, 422}
    return statuses


def problem_replies() -> Json:
    """Return the problems that operations answer with, by status."""
    return {str(status): _problem(status) for status in _DETAILS}


def _problem(status: int) -> Json:
    code, detail = _DETAILS[status]
    errors = [{"field": "limit", "message": "must be at most 100"}] if status == 422 else []
    example = {
        "type": f"/problems/{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "advice": "What to do next.",
        "errors": errors,
        "request_id": "01931c2e-7b1a-7cc3-8a5e-0e3b1f6c2d10",
        "instance": "/api/documents",
    }
    headers: Json = dict(REQUEST_ID)
    if status in {409, 429, 503, 504}:
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": {"$ref": REF.format(name="Problem")}, "example": example}},
    }
