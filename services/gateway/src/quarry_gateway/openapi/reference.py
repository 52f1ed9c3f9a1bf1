"""The page at /docs: the API's description as plain HTML, with nothing fetched from elsewhere."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any, Final

Json = Mapping[str, Any]

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
STYLE: Final = files("quarry_gateway").joinpath("reference.css").read_text(encoding="utf-8")


def page(description: Json) -> str:
    """Return the reference as one HTML page."""
    by_tag: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in description["tags"]}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((method, path, operation))
    info = description["info"]
    sections = "".join(_section(tag, operations, description) for tag, operations in by_tag.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
        f"<nav><strong>{escape(info['title'])} API</strong>{_navigation(by_tag)}</nav><main>"
        f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['summary'])} {escape(info['description'])} "
        'Machine-readable: <a href="/openapi.json">openapi.json</a>.</p>'
        "<p>Send your key in <code>X-API-Key</code> or as <code>Authorization: Bearer</code>.</p>"
        f"{sections}{_types(description)}</main></body></html>"
    )


def _navigation(by_tag: Mapping[str, list[tuple[str, str, Json]]]) -> str:
    parts = []
    for tag, operations in by_tag.items():
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [
            f'<a href="#{escape(operation["operationId"])}">{escape(operation["summary"])}</a>'
            for _, _, operation in operations
        ]
    return "".join(parts) + '<h2>Types</h2><a href="#types">All types</a>'


def _section(tag: str, operations: Iterable[tuple[str, str, Json]], description: Json) -> str:
    return f"<h2>{escape(tag)}</h2>" + "".join(
        _operation(method, path, operation, description) for method, path, operation in operations
    )


def _operation(method: str, path: str, operation: Json, description: Json) -> str:
    parts = [f"<p>{_prose(operation['description'])}</p>"]
    if operation["parameters"]:
        rows = "".join(_parameter(parameter) for parameter in operation["parameters"])
        parts.append(
            "<h4>Parameters</h4><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>"
            f"{rows}</table>"
        )
    body = operation.get("requestBody", {}).get("content", {})
    for media, content in body.items():
        parts.append(f"<h4>Body: <code>{escape(media)}</code></h4><p>{_type(content['schema'])}</p>")
        if "example" in content:
            parts.append(f"<pre>{escape(_curl(method, path, content['example']))}</pre>")
    rows = "".join(
        _response(status, answer, description) for status, answer in operation["responses"].items()
    )
    parts.append(
        f"<h4>Answers</h4><table><tr><th>Status</th><th>Meaning</th><th>Type</th></tr>{rows}</table>"
    )
    return (
        f'<details id="{escape(operation["operationId"])}" open><summary>'
        f'<b class="m {escape(method)}">{escape(method.upper())}</b><code>{escape(path)}</code>'
        f"<span>{escape(operation['summary'])}</span></summary><div>{''.join(parts)}</div></details>"
    )


def _parameter(parameter: Json) -> str:
    required = " (required)" if parameter.get("required") else ""
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code>{required}</td><td>{escape(parameter['in'])}</td>"
        f"<td>{_type(parameter['schema'])}</td><td>{_prose(parameter.get('description', ''))}</td></tr>"
    )


def _response(status: str, answer: Json, description: Json) -> str:
    if "$ref" in answer:
        answer = description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    kinds = " or ".join(
        _type(content["schema"]) or f"<code>{escape(media)}</code>"
        for media, content in answer["content"].items()
    )
    return f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{kinds}</td></tr>"


def _types(description: Json) -> str:
    parts = ['<h2 id="types">Types</h2>']
    for name, schema in description["components"]["schemas"].items():
        rows = "".join(
            f"<tr><td><code>{escape(field)}</code></td><td>{_type(inner)}</td>"
            f"<td>{_prose(inner.get('description', ''))}</td></tr>"
            for field, inner in schema.get("properties", {}).items()
        )
        table = f"<table>{rows}</table>" if rows else f"<p>{_type(schema)}</p>"
        parts.append(
            f'<details id="type-{escape(name)}"><summary><code>{escape(name)}</code>'
            f"<span>{_prose(schema.get('description', '').partition(chr(10))[0])}</span></summary>"
            f"<div>{table}</div></details>"
        )
    return "".join(parts)


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}">{name}</a>'
    if "enum" in schema:
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_type(schema.get('items', {})) or 'anything'}" + _bounds(schema)
    if kind == "object" and isinstance(schema.get("properties"), dict):
        return "object of " + ", ".join(f"<code>{escape(name)}</code>" for name in schema["properties"])
    return escape(" ".join(filter(None, [str(kind), schema.get("format", "")]))) + _bounds(schema)


def _bounds(schema: Json) -> str:
    words = {
        "minimum": "at least", "maximum": "at most", "minLength": "min. length", "maxLength": "max. length",
        "minItems": "min. items", "maxItems": "max. items", "pattern": "matching",
    }  # fmt: skip
    found = [f"{word} {escape(str(schema[name]))}" for name, word in words.items() if name in schema]
    default = schema.get("default")
    if default not in (None, [], {}):
        found.append(f"default {escape(json.dumps(default))}")
    return f" <small>({', '.join(found)})</small>" if found else ""


def _prose(text: str) -> str:
    """Return `text` as HTML, with what stands between backticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _curl(method: str, path: str, example: object) -> str:
    body = json.dumps(example, indent=2, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl -X {method.upper()} http://localhost:8080{path} \\\n"
        f"  -H 'X-API-Key: qk_live_…' -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )
