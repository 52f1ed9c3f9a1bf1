"""The API as its description tells of it: every route, and a good request for each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import jsonschema  # type: ignore[import-untyped]
import msgspec

from quarry_gateway.openapi import describe
from quarry_gateway.routes import HANDLERS
from quarry_gateway.routes.system import VERSION

Json = dict[str, Any]
NOBODY = str(UUID(int=1))
DESCRIPTION: Json = msgspec.json.decode(msgspec.json.encode(describe(HANDLERS, VERSION)))


@dataclass(frozen=True)
class Route:
    """One operation."""

    method: str
    template: str
    scope: str | None
    also: str | None
    """Another scope that suffices."""
    parameters: tuple[Json, ...]
    body: Json | None
    """The schema of its JSON body, and an example of one."""
    example: Json
    takes_files: bool

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def query(self) -> list[Json]:
        return [each for each in self.parameters if each["in"] == "query"]

    @property
    def path(self) -> list[Json]:
        return [each for each in self.parameters if each["in"] == "path"]

    def target(self, named: Mapping[str, str] | None = None, **query: str) -> str:
        """Return the path with its parameters filled in; `named` values are percent-encoded."""
        path = self.template
        for each in self.path:
            value = quote((named or {}).get(each["name"], valid(each["schema"])), safe="")
            path = path.replace("{" + each["name"] + "}", value)
        return path + ("?" + urlencode(query) if query else "")


def routes() -> list[Route]:
    """Return every route that the description tells of."""
    return list(_routes())


def _routes() -> Iterator[Route]:
    for template, methods in DESCRIPTION["paths"].items():
        for method, told in methods.items():
            content = told.get("requestBody", {}).get("content", {})
            asked = content.get("application/json", {})
            yield Route(
                method.upper(),
                template,
                told.get("x-scope"),
                told.get("x-also-scope"),
                tuple(told["parameters"]),
                resolved(asked["schema"]) if asked else None,
                asked.get("example", {}),
                "multipart/form-data" in content,
            )


def resolved(schema: Json) -> Json:
    """Return the schema that a reference names."""
    if "$ref" in schema:
        found: Json = DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def valid(schema: Json) -> str:
    """Return a text that fits the schema of a path parameter."""
    return NOBODY if schema.get("format") == "uuid" else str(schema.get("examples", ["nothing"])[0])


def fits(value: object, schema: Json) -> bool:
    """Whether `value` is what `schema` asks for."""
    whole = {**schema, "components": DESCRIPTION["components"]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return bool(jsonschema.Draft202012Validator(whole, format_checker=checker).is_valid(value))


ROUTES = routes()
WITH_BODY = [route for route in ROUTES if route.body is not None]
GUARDED = [route for route in ROUTES if route.scope is not None]
