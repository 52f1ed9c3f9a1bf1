"""What schemathesis shall check beside its own checks; named to it by SCHEMATHESIS_HOOKS."""

import os
import re
from typing import Any
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
    "created_",
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
    "collections",
    "principals",
    "public_key",
    "cors_origins",
    "settings.chunk_",
    "settings.synonyms",
)
"""Fields with rules that no schema tells: of other fields, of other requests, of the time, of who asks."""
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
    unforeseen = [error for error in errors if not error["field"].startswith(UNSAYABLE)]
    assert not unforeseen, f"refused for {unforeseen}"


OUTCOMES = frozenset({"idempotency_key_reused", "empty_document"})
"""Refusals that name no field: of an earlier request, and what a job that was waited for ended with."""


@schemathesis.hook
def before_call(ctx: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Have one tenant changed and deleted, whichever is meant: the others are needed."""
    if case.path.startswith("/api/admin/tenants/{slug}") and case.method != "GET":
        slug = str(case.path_parameters.get("slug", ""))
        if re.fullmatch(r"t-[0-9a-f]+|default", slug):
            case.path_parameters["slug"] = os.environ["SACRIFICED_TENANT"]
    # The attacker's own key is needed, too, and may be any that was listed.
    if case.path.startswith("/api/keys/{key_id}") and case.method != "GET":
        case.path_parameters["key_id"] = str(uuid4())
