"""Search: ranked, cited passages."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec
from litestar import Response, post

from quarry_common.contracts.jobs import JobState
from quarry_common.contracts.search import BATCH, QUERY, Answer, Batch
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import ConflictError, DeadlineExceededError, FieldError, NotFoundError
from quarry_gateway.access.admission import charge
from quarry_gateway.domain import Caller
from quarry_gateway.forms.searches import (
    MAX_WAITED_FOR,
    Search,
    SearchBatch,
    query_of,
    wrong_entries,
    wrong_queries,
)
from quarry_gateway.forms.validation import refuse
from quarry_gateway.gateway import Call, Gateway, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.problems import ItemProblem, item_problem
from quarry_gateway.ingest.acceptance import outcome
from quarry_gateway.limits.buckets import Endpoint

TAG = "Search"
READS_ONLY = "It only reads, and so may be repeated: an `Idempotency-Key` is not needed and not looked at."
BATCH_SECONDS = 30.0


class WriteFailedError(ConflictError):
    """A job that the search should wait for did not succeed, so what it wrote will never be seen."""

    code = "write_failed"
    title = "A job that was waited for has failed"
    advice = "Read the job, mend what it tells of, or search without waiting for it."


class BatchEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one search of a batch; one of the two is given."""

    answer: Answer | msgspec.UnsetType = msgspec.UNSET
    error: ItemProblem | msgspec.UnsetType = msgspec.UNSET


class BatchAnswer(msgspec.Struct, frozen=True):
    """What became of the searches of a batch, in their order."""

    results: list[BatchEntry]


@post(
    "/api/search",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.SEARCH,
            tag=TAG,
            summary="Search",
            description=f"The mode asked for is the mode that runs. {READS_ONLY}",
            body=Search,
            body_example={
                "query": "notice period of the lease",
                "mode": "hybrid",
                "limit": 10,
                "filters": {"doc_type": ["pdf", "docx"], "metadata": {"year": {"gte": 2020}}},
                "group_by_document": True,
                "highlight": True,
                "facets": ["doc_type", "metadata.author"],
            },
            replies={200: Answer},
            errors=(404, 409, 429),
            reads_only=True,
        )
    ),
)
async def search(request: Call) -> Response[bytes]:
    """Answer the passages that fit best."""
    gateway, caller = gateway_of(request), request.auth
    tenant_id = caller.tenant_id  # who names no tenant is told so, whatever else is wrong
    form = await read_json(request, Search, wrong_entries)
    asked = query_of(form, caller)
    await _written(gateway, caller, form.wait_for, form.wait_seconds)
    async with gateway.limits.searches.search(tenant_id, _per_day(caller)):
        return reply(_with_token(gateway, tenant_id, await gateway.ask(QUERY, asked)))


@post(
    "/api/search/batch",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.SEARCH,
            tag=TAG,
            summary="Search for several things at once",
            description=f"Each search has an answer or an error of its own. {READS_ONLY}",
            body=SearchBatch,
            body_example={"queries": [{"query": "notice period"}, {"query": "deposit", "mode": "keyword"}]},
            replies={200: BatchAnswer},
            errors=(404, 409, 429),
            reads_only=True,
        )
    ),
)
async def search_batch(request: Call) -> Response[bytes]:
    """Answer several searches."""
    gateway, caller = gateway_of(request), request.auth
    tenant_id = caller.tenant_id
    form = await read_json(request, SearchBatch, wrong_queries)
    asked = Batch([query_of(each, caller, f"queries[{index}].") for index, each in enumerate(form.queries)])
    count = len(asked.queries)
    await charge(gateway, request.scope, caller, Endpoint.SEARCH, count - 1, paid=1)  # type: ignore[arg-type]
    waited_for = list(dict.fromkeys(job_id for each in form.queries for job_id in each.wait_for))
    if len(waited_for) > MAX_WAITED_FOR:
        message = f"wait for {len(waited_for)} jobs together; at most {MAX_WAITED_FOR} may be waited for"
        refuse([FieldError("queries", message)])
    await _written(gateway, caller, waited_for, max(each.wait_seconds for each in form.queries))
    async with gateway.limits.searches.search(tenant_id, _per_day(caller), count) as admitted:
        found = await gateway.ask(BATCH, asked, BATCH_SECONDS)
        admitted.failed = sum(each.error is not None for each in found.outcomes)
    return reply(
        BatchAnswer(
            [
                BatchEntry(error=item_problem(each.error))
                if each.error is not None
                else BatchEntry(
                    answer=_with_token(gateway, tenant_id, each.answer) if each.answer else msgspec.UNSET
                )
                for each in found.outcomes
            ]
        )
    )


def _with_token(gateway: Gateway, tenant_id: UUID, answer: Answer) -> Answer:
    token = gateway.event_tokens.make(tenant_id, answer.query_id)
    return msgspec.structs.replace(answer, event_token=token) if token else answer


def _per_day(caller: Caller) -> int | None:
    return None if caller.quotas is None else caller.quotas.searches_per_day


async def _written(gateway: Gateway, caller: Caller, job_ids: Sequence[UUID], seconds: float) -> None:
    """Return when the jobs have succeeded: then searches see what they wrote.

    Raises `NotFoundError` for a job that there is not, `WriteFailedError` for one that will never succeed and
    `DeadlineExceededError` when the time is over.
    """
    until = time.monotonic() + seconds

    async def wait(job_id: UUID) -> None:
        job = await outcome(gateway, caller.tenant_id, job_id, max(until - time.monotonic(), 0.0))
        if not caller.reaches(job.collection):
            raise NotFoundError("There is no such job.")
        if not job.state.final:
            raise DeadlineExceededError(
                f"The job {job_id} is {job.state.value} still after {seconds:g} s.",
                advice="Wait longer, or search without waiting for it.",
                retry_after_seconds=1,
            )
        if job.state is not JobState.SUCCEEDED:
            raise WriteFailedError(f"The job {job_id} was {job.state.value}.")

    try:
        async with asyncio.TaskGroup() as group:
            for job_id in dict.fromkeys(job_ids):
                group.create_task(wait(job_id))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


HANDLERS = [search, search_batch]
