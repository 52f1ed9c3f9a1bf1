"""The API's description (OpenAPI 3.1), made from what is declared beside the routes."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from quarry_common.contracts.collections import CollectionName
from quarry_common.contracts.documents import ExternalId
from quarry_common.contracts.domains import DomainName
from quarry_common.contracts.search import UserId
from quarry_common.contracts.tenancy import Slug
from quarry_gateway.domain import TENANT_HEADER
from quarry_gateway.forms.documents import OF_CONTENT
from quarry_gateway.http.operations import OPERATION, PUBLIC, Operation
from quarry_gateway.http.problems import Problem
from quarry_gateway.ingest.uploads import JSON_FIELDS
from quarry_gateway.openapi.replies import REF, problem_replies, replies_of, structs_of

Json = dict[str, Any]

PATH_PARAMETERS: Final[Mapping[str, Any]] = {
    "document_id": UUID,
    "job_id": UUID,
    "key_id": UUID,
    "webhook_id": UUID,
    "delivery_id": UUID,
    "replay_id": UUID,
    "signing_key_id": UUID,
    "external_id": ExternalId,
    "name": CollectionName,
    "domain": DomainName,
    "slug": Slug,
    "user_id": UserId,
    "set_id": UUID,
    "code": Annotated[str, Meta(max_length=100)],
}
SECURITY: Final[list[dict[str, list[str]]]] = [{"apiKey": []}, {"bearer": []}]
SECURITY_SCHEMES: Final = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key, `qk_live_…`."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key as a bearer token."},
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
            "responses": problem_replies(),
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
        answered = [kind for reply in operation.replies.values() for kind in structs_of(reply)]
        for kind in (*asked, *answered):
            if kind is not None:
                found[repr(kind)] = kind
    found |= {repr(kind): kind for kind in PATH_PARAMETERS.values()}
    return list(found.values())


def _describe(
    handler: HTTPRouteHandler, operation: Operation, template: str, schemas: Json, components: Json
) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schemas[repr(PATH_PARAMETERS[name])]}
        for name in re.findall(r"{(\w+)}", template)
    ]
    parameters += _query_parameters(operation, components)
    parameters += [
        {"name": each.name, "in": "header", "description": each.description, "schema": each.schema}
        for each in operation.request_headers
    ]
    found: Json = {
        "operationId": handler.handler_name.rpartition(".")[2] or handler.handler_name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _description(operation),
        "parameters": parameters,
        "responses": replies_of(operation, template, schemas),
        "security": [] if operation.access == PUBLIC else [*([{}] if operation.keyless else []), *SECURITY],
    }
    if operation.access != PUBLIC:
        found["x-scope"] = operation.access.value
        if operation.also is not None:
            found["x-also-scope"] = operation.also.value
        parameters.append(_tenant_header())
    if operation.body is not None:
        found["requestBody"] = _request_body(operation, schemas)
    return found


def _description(operation: Operation) -> str:
    if operation.access == PUBLIC:
        return operation.description
    also = f" or `{operation.also.value}`" if operation.also else ""
    return f"{operation.description}\n\nNeeds the scope `{operation.access.value}`{also}.".strip()


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
    told: Json = {"schema": schemas[repr(operation.body)]}
    if operation.body_example is not None:
        told["example"] = operation.body_example
    content = dict.fromkeys(operation.body_types, told)
    if operation.form is not None:
        content["multipart/form-data"] = _form(operation.form)
    return {"required": True, "content": content}


def _form(kind: type[msgspec.Struct]) -> Json:
    fields = {
        name: _form_field(schema)
        for name, schema in _schema_of(kind)["properties"].items()
        if name not in OF_CONTENT
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
