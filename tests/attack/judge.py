"""What every refusal must be: a problem by RFC 9457 that helps its reader and tells nothing of the inside."""

import re
from collections.abc import Collection

from tests.attack.wire import Answer

MEMBERS = {"type", "title", "status", "code", "detail", "advice", "errors", "request_id", "instance"}
MOST_BYTES = 128 << 10
REFUSALS = range(400, 500)
INSIDE = re.compile(
    r"""Traceback | File\ " | site-packages | \.pyc?\b | /src/ | /var/ | /tmp/ | 0x[0-9a-f]{6}
    | asyncpg | psycopg | sqlstate | msgspec | litestar | granian | hyper\b | uvicorn | NoneType | \bStruct\b
    | \b(?:SELECT|INSERT\ INTO|UPDATE|DELETE\ FROM|VIOLATES)\b | (?:postgres(?:ql)?|redis|nats|https?)://
    | qdrant | rpc\.v1 | 127\.0\.0\.1 | localhost | \b(?:Key|Value|Type|Attribute|Unicode\w+|OS)Error\b
    | <class | object\ at | qk_(?:live|test)_\w{8}""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words of the implementation: modules, statements, addresses, exceptions, and keys."""


def faults(answer: Answer, statuses: Collection[int] = REFUSALS, *, secrets: Collection[str] = ()) -> str:
    """Return what is wrong with `answer` as a refusal with one of `statuses`; empty when it is as it should.

    `secrets` are words that must not occur anywhere in it.
    """
    said = answer.body[:300]
    if answer.status not in statuses:
        return f"status {answer.status}: {said!r}"
    found = answer.headers.get("content-type")
    if found != "application/problem+json":
        return f"content type {found} with {answer.status}: {said!r}"
    if len(answer.body) > MOST_BYTES:
        return f"a problem of {len(answer.body)} bytes"
    problem = answer.json
    if set(problem) != MEMBERS:
        return f"members {sorted(problem)}"
    if problem["status"] != answer.status or problem["type"] != f"/problems/{problem['code']}":
        return f"status or type do not fit: {said!r}"
    if not problem["title"] or not problem["detail"] or not problem["advice"]:
        return f"says nothing: {said!r}"
    if not problem["request_id"] or problem["request_id"] != answer.headers.get("x-request-id"):
        return f"request id {problem['request_id']!r}, header {answer.headers.get('x-request-id')!r}"
    if problem["code"] == "validation_failed" and not problem["errors"]:
        return f"names no field: {said!r}"
    return _leak(answer, secrets)


def _leak(answer: Answer, secrets: Collection[str]) -> str:
    problem = answer.json
    told = [problem[name] for name in ("title", "code", "detail", "advice")]
    told += [error["message"] for error in problem["errors"]]
    told += [value for name, value in answer.headers.items() if name != "x-request-id"]
    leaks = [match[0] for text in told if (match := INSIDE.search(text))]
    whole = answer.body.decode()
    leaks += [secret for secret in secrets if secret in whole]
    return f"tells {leaks}: {answer.body[:600]!r}" if leaks else ""


def fields(answer: Answer) -> set[str]:
    """Return the fields that a refusal names."""
    return {error["field"] for error in answer.json["errors"]}


def bare(answer: Answer) -> str:
    """Return what is wrong with the answer to what is no HTTP: it is refused without a word."""
    if answer.status in range(400, 500) and not answer.body and "server" not in answer.headers:
        return ""
    return f"{answer.status} {answer.headers} {answer.body[:300]!r}"
