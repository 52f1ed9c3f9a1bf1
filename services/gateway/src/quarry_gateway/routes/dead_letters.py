"""Dead letters: failed jobs that nobody has decided upon."""

from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.jobs import (
    DISCARD_DEAD_LETTERS,
    GET_JOB,
    LIST_DEAD_LETTERS,
    REPLAY_DEAD_LETTERS,
    ChangeJobs,
    JobDetail,
    JobFilter,
    JobPage,
    JobRef,
    JobsChanged,
    ListDeadLetters,
)
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import NotFoundError
from quarry_gateway.forms.jobs import Code, DeadLetterChoice, Moment, chosen, filter_of
from quarry_gateway.forms.validation import decode_query, path_uuid
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.bodies import read_json
from quarry_gateway.http.idempotency import IDEMPOTENCY_KEY, idempotency_key
from quarry_gateway.http.operations import Example, Operation, declare
from quarry_gateway.http.paging import PageQuery

TAG = "Dead letters"
REPLAYING = "It is queued anew; when it fails again, it is a dead letter again."
DISCARDING = "It is no dead letter any more and stays a failed job; its document is not changed."


class DeadLettersQuery(PageQuery, frozen=True):
    """Which dead letters to list."""

    document_id: UUID | None = None
    collection: CollectionName | None = None
    code: Code | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


@get(
    "/api/dead-letters",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="List dead letters, newest first",
            query=DeadLettersQuery,
            replies={200: JobPage},
        )
    ),
)
async def list_dead_letters(request: Call) -> Response[bytes]:
    """Answer a page of the tenant's dead letters."""
    query = decode_query(request.scope["query_string"], DeadLettersQuery)
    asked = ListDeadLetters(request.auth.tenant_id, filter_of(query, request.auth), query.limit, query.cursor)
    return reply(await gateway_of(request).ask(LIST_DEAD_LETTERS, asked))


@get(
    "/api/dead-letters/{job_id:str}",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="Read a dead letter with its log",
            replies={200: JobDetail},
            errors=(404,),
        )
    ),
)
async def get_dead_letter(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Answer one dead letter."""
    gateway, tenant_id = gateway_of(request), request.auth.tenant_id
    wanted = path_uuid(job_id, "job_id")
    listed = await gateway.ask(LIST_DEAD_LETTERS, ListDeadLetters(tenant_id, JobFilter([wanted]), limit=1))
    if not listed.jobs:
        raise _no_such()
    return reply(await gateway.ask(GET_JOB, JobRef(tenant_id, wanted)))


def _changing_many(summary: str, description: str, example: Example) -> Operation:
    return Operation(
        access=Scope.DOCUMENTS_WRITE,
        tag=TAG,
        summary=summary,
        description=(
            f"Those to which everything given applies, or `all`. {description} With `more` there are some "
            "left: send the request again, with another idempotency key or none."
        ),
        body=DeadLetterChoice,
        body_example=example,
        replies={200: JobsChanged},
        errors=(409,),
        request_headers=(IDEMPOTENCY_KEY,),
    )


@post(
    "/api/dead-letters/replay",
    status_code=200,
    opt=declare(_changing_many("Replay dead letters", REPLAYING, {"code": "parser_timeout"})),
)
async def replay_dead_letters(request: Call) -> Response[bytes]:
    """Queue the dead letters that were chosen anew."""
    return await _change_many(request, REPLAY_DEAD_LETTERS)


@post(
    "/api/dead-letters/discard",
    status_code=200,
    opt=declare(_changing_many("Discard dead letters", DISCARDING, {"collection": "contracts"})),
)
async def discard_dead_letters(request: Call) -> Response[bytes]:
    """Take the dead letters that were chosen off the list."""
    return await _change_many(request, DISCARD_DEAD_LETTERS)


async def _change_many(request: Call, method: RpcMethod[ChangeJobs, JobsChanged]) -> Response[bytes]:
    tenant_id = request.auth.tenant_id
    key = idempotency_key(request)
    choice = await read_json(request, DeadLetterChoice)
    asked = ChangeJobs(tenant_id, chosen(choice, request.auth), key)
    gateway = gateway_of(request)
    changed = await gateway.ask(method, asked)
    action = "dead_letters.replayed" if method is REPLAY_DEAD_LETTERS else "dead_letters.discarded"
    await gateway.audit.record(request.auth, action, "*", after=msgspec.to_builtins(changed))
    return reply(changed)


@post(
    "/api/dead-letters/{job_id:str}/replay",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Replay a dead letter",
            description=REPLAYING,
            replies={200: JobsChanged},
            errors=(404, 409),
            request_headers=(IDEMPOTENCY_KEY,),
        )
    ),
)
async def replay_dead_letter(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Queue one dead letter anew."""
    return await _change_one(request, REPLAY_DEAD_LETTERS, job_id, idempotency_key(request))


@delete(
    "/api/dead-letters/{job_id:str}",
    status_code=200,
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_WRITE,
            tag=TAG,
            summary="Discard a dead letter",
            description=DISCARDING,
            replies={200: JobsChanged},
            errors=(404,),
        )
    ),
)
async def discard_dead_letter(request: Call, job_id: FromPath[str]) -> Response[bytes]:
    """Take one dead letter off the list."""
    return await _change_one(request, DISCARD_DEAD_LETTERS, job_id, None)


async def _change_one(
    request: Call, method: RpcMethod[ChangeJobs, JobsChanged], job_id: str, key: str | None
) -> Response[bytes]:
    asked = ChangeJobs(request.auth.tenant_id, JobFilter([path_uuid(job_id, "job_id")]), key)
    changed = await gateway_of(request).ask(method, asked)
    if not changed.jobs:
        raise _no_such()
    return reply(changed)


def _no_such() -> NotFoundError:
    return NotFoundError(
        "There is no such dead letter.",
        advice="Check the id; its job may have been tried again, discarded, or belong to another tenant.",
    )


HANDLERS = [
    list_dead_letters,
    get_dead_letter,
    replay_dead_letters,
    discard_dead_letters,
    replay_dead_letter,
    discard_dead_letter,
]
