"""The API's description (OpenAPI 3.1), made from what is declared beside the routes."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from quarry_common.contracts.documents import CollectionName, ExternalId
from quarry_common.contracts.tenancy import Slug
from quarry_gateway.domain import TENANT_HEADER
from quarry_gateway.operations import OPERATION, PUBLIC, Operation
from quarry_gateway.problems import CONTENT_TYPE, Problem
from quarry_gateway.uploads import JSON_FIELDS

Json = dict[str, Any]

REF: Final = "#/components/schemas/{name}"
PATH_PARAMETERS: Final[Mapping[str, Any]] = {
    "document_id": UUID,
    "job_id": UUID,
    "key_id": UUID,
    "external_id": ExternalId,
    "name": CollectionName,
    "slug": Slug,
    "code": Annotated[str, Meta(max_length=100)],
}
HEADER_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
SECURITY: Final[list[dict[str, list[str]]]] = [{"apiKey": []}, {"bearer": []}]
SECURITY_SCHEMES: Final = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key, `qk_live_…`."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key as a bearer token."},
}
REQUEST_ID: Final = {"X-Request-ID": {"schema": {"type": "string"}, "description": "The request's id."}}
_DETAILS: Final = {
    400: ("malformed_request", "The body is not JSON: JSON is malformed."),
    401: ("unauthenticated", "The request carries no API key."),
    403: ("forbidden", "The operation needs the scope `documents:write`."),
    404: ("not_found", "There is no such document."),
    408: ("request_timeout", "Nothing arrived for 30 s."),
    409: ("conflict", "The external id is taken."),
    413: ("payload_too_large", "The file is larger than 512 MiB."),
    415: ("unsupported_media_type", "The route reads application/json in UTF-8."),
    422: ("validation_failed", "1 field is wrong."),
    429: ("quota_exceeded", "The tenant's quota of documents is used up."),
    500: ("internal_error", "Internal error"),
    503: ("unavailable", "The indexer service is not running."),
    504: ("deadline_exceeded", "The indexer service did not answer within 10 s."),
}


def describe(handlers: Iterable[HTTPRouteHandler], version: str) -> Json:
    """Return the description of every operation that `handlers` declare."""
    declared = [(handler, _operation(handler)) for handler in handlers]
    shown = [(handler, operation) for handler, operation in declared if not operation.hidden]
    kinds = _kinds(operation for _, operation in shown)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    by_kind = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: Json = {}
    for handler, operation in shown:
        for path in handler.paths:
            method = min(handler.http_methods).lower()
            template = re.sub(r"{(\w+):\w+}", r"{\1}", path)
            paths.setdefault(template, {})[method] = _describe(
                handler, operation, template, by_kind, components
            )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quarry",
            "version": version,
            "summary": "Documents go in; ranked, cited passages come out.",
            "description": "Errors are RFC 9457 problem details. Ids are UUIDs, times UTC in ISO 8601.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for _, operation in shown)],
        "paths": paths,
        "components": {
            "schemas": {name: components[name] for name in sorted(components)},
            "securitySchemes": SECURITY_SCHEMES,
            "responses": {str(status): _problem(status) for status in _DETAILS},
        },
    }


def _operation(handler: HTTPRouteHandler) -> Operation:
    found = (handler.opt or {}).get(OPERATION)
    if not isinstance(found, Operation):
        raise TypeError(f"the route {sorted(handler.paths)} does not declare its operation")
    return found


def _kinds(operations: Iterable[Operation]) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for operation in operations:
        asked = (operation.body, operation.form, operation.query)
        answered = [kind for reply in operation.replies.values() for kind in _structs(reply)]
        for kind in (*asked, *answered):
            if kind is not None:
                found[repr(kind)] = kind
    found |= {repr(kind): kind for kind in PATH_PARAMETERS.values()}
    return list(found.values())


def _structs(reply: object) -> tuple[Any, ...]:
    if isinstance(reply, str):
        return ()
    return reply if isinstance(reply, tuple) else (reply,)


def _describe(
    handler: HTTPRouteHandler, operation: Operation, template: str, schemas: Json, components: Json
) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schemas[repr(PATH_PARAMETERS[name])]}
        for name in re.findall(r"{(\w+)}", template)
    ]
    parameters += _query_parameters(operation, components)
    parameters += [
        {"name": name, "in": "header", "description": text, "schema": HEADER_TEXT}
        for name, text in operation.request_headers.items()
    ]
    found: Json = {
        "operationId": handler.handler_name.rpartition(".")[2] or handler.handler_name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _description(operation),
        "parameters": parameters,
        "responses": _responses(operation, template, schemas),
        "security": [] if operation.access == PUBLIC else SECURITY,
    }
    if operation.access != PUBLIC:
        found["x-scope"] = operation.access.value
        parameters.append(_tenant_header())
    if operation.body is not None:
        found["requestBody"] = _request_body(operation, schemas)
    return found


def _description(operation: Operation) -> str:
    if operation.access == PUBLIC:
        return operation.description
    return f"{operation.description}\n\nNeeds the scope `{operation.access.value}`.".strip()


def _tenant_header() -> Json:
    text = "For operators: the slug of the tenant to act for."
    return {"name": TENANT_HEADER, "in": "header", "description": text, "schema": {"type": "string"}}


def _query_parameters(operation: Operation, components: Json) -> list[Json]:
    if operation.query is None:
        return []
    properties = components.pop(operation.query.__name__, None) or _schema_of(operation.query)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in properties.get("required", ()),
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in properties["properties"].items()
    ]


def _schema_of(kind: type[msgspec.Struct]) -> Json:
    _, components = msgspec.json.schema_components([kind], ref_template=REF)
    found: Json = components[kind.__name__]
    return found


def _request_body(operation: Operation, schemas: Json) -> Json:
    content: Json = {"application/json": {"schema": schemas[repr(operation.body)]}}
    if operation.body_example is not None:
        content["application/json"]["example"] = operation.body_example
    if operation.form is not None:
        content["multipart/form-data"] = _form(operation.form)
    return {"required": True, "content": content}


def _form(kind: type[msgspec.Struct]) -> Json:
    fields = {
        name: _form_field(schema)
        for name, schema in _schema_of(kind)["properties"].items()
        if name != "content"
    }
    return {
        "schema": {
            "type": "object",
            "properties": {
                "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                **fields,
            },
            "required": ["file"],
            "additionalProperties": False,
        },
        "encoding": {name: {"contentType": "application/json"} for name in sorted(JSON_FIELDS)},
    }


def _form_field(schema: Json) -> Json:
    """Return the schema of a part of a form; it is left out when there is no value."""
    bare = _without_null(schema)
    if bare.get("type") != "array":
        return bare
    # OpenAPI takes a list in a form for one part per item; here it is one part that holds the list as JSON.
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": bare}


def _without_null(schema: Json) -> Json:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    return {**kinds[0], **rest} if len(kinds) == 1 else schema


def _responses(operation: Operation, template: str, schemas: Json) -> Json:
    found: Json = {}
    for status, kind in operation.replies.items():
        choices = [schemas[repr(one)] for one in _structs(kind)]
        schema: Json = choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
        media = kind if isinstance(kind, str) else "application/json"
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": REQUEST_ID,
            "content": {media: {"schema": schema}},
        }
    for status in sorted(_error_statuses(operation, template)):
        found.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    return found


def _error_statuses(operation: Operation, template: str) -> set[int]:
    statuses = {400, 500, 503, *operation.errors}
    if operation.access != PUBLIC:
        statuses |= {401, 403, 404, 422, 504}  # an operator's X-Tenant may be unknown or missing
    if operation.query is not None or "{" in template:
        statuses.add(422)
    if operation.body is not None:
        statuses |= {408, 413, 415, 422}
    return statuses


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
    if status in {429, 503, 504}:
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": {"$ref": REF.format(name="Problem")}, "example": example}},
    }
