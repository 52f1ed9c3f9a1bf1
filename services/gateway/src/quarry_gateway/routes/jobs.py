"""Jobs: the work of making documents searchable."""

from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ASGIApp

from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.jobs import (
    CANCEL_JOB,
    CANCEL_JOBS,
    GET_JOB,
    LIST_JOBS,
    RETRY_JOB,
    ChangeJob,
    ChangeJobs,
    Job,
    JobDetail,
    JobPage,
    JobRef,
    JobsChanged,
    JobState,
    ListJobs,
)
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import NotFoundError
from quarry_gateway.domain import Caller, require_scope
from quarry_gateway.event_streams.job import LAST_REVISION, JobEvents
from quarry_gateway.event_streams.serving import MEDIA_TYPE, open_stream
from quarry_gateway.forms.jobs import Code, JobChoice, Moment, chosen, filter_of
from quarry_gateway.forms.validation import decode_query, path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Jobs"
EVENTS_EXAMPLE = """retry: 1000

event: job
id: 7
data: {"id":"01931c2e-7b1a-7cc3-8a5e-0e3b1f6c2d10","state":"running","stage":"embed","chunks_done":64,…}

event: end
data: {"state":"succeeded"}
"""


EVENT_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["job", "end", "error"]},
        "id": {"type": "string", "description": "The revision of the job."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A `Job`; of `end` its last state; of `error` a `Problem`.",
        },
        "retry": {"type": "integer"},
    },
}


class JobsQuery(PageQuery, frozen=True):
    """Which jobs to list."""

    state: JobState | None = None
    document_id: UUID | None = None
    collection: CollectionName | None = None
    code: Code | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


@get(
    "/api/jobs",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="List jobs, newest first",
            query=JobsQuery,
            replies={200: JobPage},
        )
    ),
)
async def list_jobs(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's jobs."""
    query = decode_query(request.scope["query_string"], JobsQuery)
    asked = ListJobs(
        request.auth.tenant_id, query.state, filter_of(query, request.auth), query.limit, query.cursor
    )
    return reply(await gateway_of(request).ask(LIST_JOBS, asked))


@get(
    "/api/jobs/{job_id:str}",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="Read a job, its place in the queue and its log",
            description="A job can be read from the moment its id was answered.",
            replies={200: JobDetail},
            errors=(404,),
        )
    ),
)
async def get_job(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Answer one job."""
    asked = JobRef(request.auth.tenant_id, path_uuid(job_id, "job_id"))
    return reply(await gateway_of(request).ask(GET_JOB, asked))


@get(
    "/api/jobs/{job_id:str}/events",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="Follow a job",
            description=(
                "Server-sent events: `job` with the job as JSON and its revision as id, at once and whenever "
                "it changes; `end` when it is over. When the connection ends without it, connect again with "
                "`Last-Event-ID`, as browsers do. `error` holds a problem: the job is gone or the key is not "
                "valid any more."
            ),
            replies={200: MEDIA_TYPE},
            reply_example=EVENTS_EXAMPLE,
            reply_schema=EVENT_SCHEMA,
            errors=(404,),
            request_headers=(LAST_REVISION,),
        )
    ),
)
async def job_events(request: Call, job_id: FromPath[str]) -> ASGIApp:
    """Answer a job's states as they change."""
    tenant_id = request.auth.tenant_id
    asked = JobRef(tenant_id, path_uuid(job_id, "job_id"))
    source = JobEvents(gateway_of(request), asked, request.headers.get(LAST_REVISION.name, ""))

    def require(caller: Caller) -> None:
        require_scope(caller, Scope.DOCUMENTS_READ)
        if caller.tenant != tenant_id:
            raise NotFoundError("There is no such job.")

    return await open_stream(request, tenant_id, source, require)


def _changing(summary: str, description: str) -> Operation:
    return Operation(
        access=Scope.DOCUMENTS_WRITE,
        tag=TAG,
        summary=summary,
        description=description,
        replies={200: Job},
        errors=(404, 409),
        request_headers=(IDEMPOTENCY_KEY,),
    )


@post(
    "/api/jobs/{job_id:str}/cancel",
    status_code=200,
    opt=declare(
        _changing(
            "Cancel a job",
            "A running one stops within five seconds. Nothing of its version can be found; an earlier "
            "version stays as it is.",
        )
    ),
)
async def cancel_job(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Cancel a job and answer it."""
    return await _change(request, CANCEL_JOB, job_id)


@post(
    "/api/jobs/{job_id:str}/retry",
    status_code=200,
    opt=declare(_changing("Try a job again", "One that failed or was cancelled is queued anew.")),
)
async def retry_job(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Queue a job anew and answer it."""
    return await _change(request, RETRY_JOB, job_id)


async def _change(request: Call, method: RpcMethod[ChangeJob, Job], job_id: str) -> Response[bytes]:
    key = idempotency_key(request)
    asked = ChangeJob(request.auth.tenant_id, path_uuid(job_id, "job_id"), key)
    return reply(await gateway_of(request).ask(method, asked))


@post(
    "/api/jobs/cancel",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Cancel many jobs",
            description=(
                "Those that are queued or running and to which everything given applies. With `more` there "
                "are some left: send the request again, with another idempotency key or none."
            ),
            body=JobChoice,
            body_example={"collection": "contracts"},
            replies={200: JobsChanged},
            errors=(409,),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def cancel_jobs(request: Call) -> Response[bytes]:
    """Cancel the jobs that were chosen."""
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    choice = await read_json(request, JobChoice)
    asked = ChangeJobs(tenant_id, chosen(choice, request.auth), key)
    gateway = gateway_of(request)
    changed = await gateway.ask(CANCEL_JOBS, asked)
    await gateway.audit.record(request.auth, "jobs.cancelled", "*", after=msgspec.to_builtins(changed))
    return reply(changed)


HANDLERS = [list_jobs, get_job, job_events, cancel_job, retry_job, cancel_jobs]
