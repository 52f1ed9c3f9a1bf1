"""Jobs: the work of making documents searchable."""

from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from quarry_common.contracts.documents import GET_JOB, LIST_JOBS, Job, JobPage, JobRef, JobState, ListJobs
from quarry_common.contracts.tenancy import Scope
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.operations import Operation, declare
from quarry_gateway.paging import PageQuery
from quarry_gateway.validation import decode_query, path_uuid


class JobsQuery(PageQuery, frozen=True):
    """Which jobs to list."""

    state: JobState | None = None
    document_id: UUID | None = None


@get(
    "/api/jobs",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag="Jobs",
            summary="List jobs, newest first",
            query=JobsQuery,
            replies={200: JobPage},
        )
    ),
)
async def list_jobs(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's jobs."""
    query = decode_query(request.scope["query_string"], JobsQuery)
    asked = ListJobs(request.auth.tenant_id, query.state, query.document_id, query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_JOBS, asked))


@get(
    "/api/jobs/{job_id:str}",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag="Jobs",
            summary="Read a job",
            description="A job can be read from the moment its id was answered.",
            replies={200: Job},
            errors=(404,),
        )
    ),
)
async def get_job(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Answer one job."""
    asked = JobRef(request.auth.tenant_id, path_uuid(job_id, "job_id"))
    return reply(await gateway_of(request).ask(GET_JOB, asked))


HANDLERS = [list_jobs, get_job]
