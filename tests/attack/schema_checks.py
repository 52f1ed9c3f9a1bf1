"""What schemathesis shall check beside its own checks; named to it by SCHEMATHESIS_HOOKS."""

import os
import re
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import schemathesis
from schemathesis import GenerationMode
from tests.attack.judge import faults
from tests.attack.wire import Answer

UNSAYABLE = (
    "cursor",
    "content",
    "external_id",
    "collection",
    "filters",
    "scopes",
    "metadata",
    "name",
    "expires_at",
    "before",
    "tags",
    "allowed_principals",
    "job_ids",
    "document_ids",
    "all",
    "filter",
    "Idempotency-Key",
    "If-None-Match",
    "If-Match",
    "query",
    "queries",
    "facets",
    "tenant",
    "first",
    "last",
    "networks",
    "principals",
    "settings.chunk_tokens",
    "settings.chunk_overlap",
    "settings.synonyms",
    "created_after",
    "created_before",
    "events",
    "event_types",
    "start",
    "end",
    "since",
    "until",
    "timestamp",
    "url",
    "secret",
    "days",
    "tz",
)
"""Fields with rules that no schema tells: of other fields, of other requests, of the time, of who asks.

What is inside of a field (`filters.and[0]`) is of it; a field whose name only begins so is another.
"""
UNSAID = frozenset(
    {
        "must be an integer, not a number",
        "must be an integer or null, not a number",
        "must not hold the character U+0000",
    }
)
"""What no schema tells: JSON Schema calls 92.0 an integer; the API asks for one that is written as such."""


@schemathesis.check
def refusals_are_problems(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Every refusal is a problem that tells nothing of the inside."""
    if response.status_code < 400 or case.method == "HEAD":
        return
    headers = {name: values[0] for name, values in response.headers.items()}
    answer = Answer(response.status_code, headers, response.content)
    found = faults(answer, {response.status_code})
    assert not found, found


@schemathesis.check
def what_the_schema_allows_is_accepted(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A request that fits the schema is refused only for what no schema can tell."""
    meta = case.meta
    if (
        meta is None
        or meta.generation.mode != GenerationMode.POSITIVE
        or response.status_code not in {400, 422}
    ):
        return
    problem = response.json()
    errors = [error for error in problem["errors"] if error["message"] not in UNSAID]
    assert problem["errors"] or problem["code"] in OUTCOMES, response.text
    unforeseen = [error for error in errors if not _is_unsayable(error["field"])]
    assert not unforeseen, f"refused for {unforeseen}"


def _is_unsayable(field: str) -> bool:
    return any(field == name or field.startswith((f"{name}.", f"{name}[")) for name in UNSAYABLE)


OUTCOMES = frozenset(
    {
        "idempotency_key_reused",
        *("empty_document", "encrypted_document", "no_text", "corrupt_document", "parse_failed"),
    }
)
"""Refusals that name no field: of an earlier request, and what a job that was waited for ended with."""
MAX_QUERY = 60_000
"""Characters of a query. The HTTP server answers 414 by itself, without a body, to an address of 64 KiB."""


@schemathesis.hook
def filter_query(ctx: schemathesis.HookContext, query: dict[str, Any] | None) -> bool:
    """Leave out what comes to no route."""
    return len(urlencode(query or {}, doseq=True)) <= MAX_QUERY


@schemathesis.hook
def before_call(ctx: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Have what other tests need left alone.

    Of tenants, the one to be sacrificed is changed and deleted, whichever was meant. The attacker's own key,
    which may be among those that were listed, becomes one that there is not; any other key is the one meant.
    """
    if case.path.startswith("/api/admin/tenants/{slug}") and case.method != "GET":
        slug = str(case.path_parameters.get("slug", ""))
        if re.fullmatch(r"t-[0-9a-f]+|default", slug):
            case.path_parameters["slug"] = os.environ["SACRIFICED_TENANT"]
    if (
        case.path.startswith("/api/keys/{key_id}")
        and case.method != "GET"
        and str(case.path_parameters.get("key_id", "")).lower() == os.environ["ATTACKERS_KEY"]
    ):
        case.path_parameters["key_id"] = str(uuid4())
