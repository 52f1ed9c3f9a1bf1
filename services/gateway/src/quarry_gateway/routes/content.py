"""What is in a document: its extracted text, and the chunks that searches find."""

from litestar import get
from litestar.params import FromPath
from litestar.response import Response, Stream

from quarry_common.contracts.documents import GET_CONTENT, LIST_CHUNKS, ChunkPage, ListChunks
from quarry_common.contracts.tenancy import Scope
from quarry_common.errors import NotFoundError
from quarry_gateway.forms.validation import decode_query
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.http.operations import Operation, declare
from quarry_gateway.http.paging import PageQuery
from quarry_gateway.routes.documents import TAG, named

TEXT = "text/plain"


@get(
    "/api/documents/{document_id:str}/content",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="Read a document's text",
            description=(
                "As it was extracted from the version that searches find, in UTF-8. Places of chunks and "
                "results (`char_start`, `char_end`) are counted in its characters."
            ),
            replies={200: TEXT},
            reply_example="The notice period is six months to the end of a quarter.",
            errors=(404, 409),
        )
    ),
)
async def get_content(request: Call, document_id: FromPath[str]) -> Stream:
    """Answer the text piece by piece."""
    gateway = gateway_of(request)
    ref = named(request, document_id)
    content = await gateway.ask(GET_CONTENT, ref)
    try:
        size_bytes, pieces = await gateway.blobs.of(ref.tenant_id).open(content.path)
    except NotFoundError:
        raise NotFoundError("There is no such document.") from None  # it was purged just now
    headers = {"content-length": str(size_bytes)}
    return Stream(pieces, media_type=TEXT, headers=headers)


@get(
    "/api/documents/{document_id:str}/chunks",
    opt=declare(
        Operation(
            access=Scope.DOCUMENTS_READ,
            tag=TAG,
            summary="List a document's chunks in their order",
            description="Those of the version that searches find.",
            query=PageQuery,
            replies={200: ChunkPage},
            errors=(404, 409),
        )
    ),
)
async def list_chunks(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Answer a page of the document's chunks."""
    ref = named(request, document_id)
    query = decode_query(request.scope["query_string"], PageQuery)
    asked = ListChunks(
        tenant_id=ref.tenant_id, document_id=ref.document_id, limit=query.limit, cursor=query.cursor
    )
    return reply(await gateway_of(request).ask(LIST_CHUNKS, asked))


HANDLERS = [get_content, list_chunks]
