"""Bodies that no route may accept, by name: what is wrong, and with which status it is refused."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.attack.routes import Route, fits, resolved

MIB = 1 << 20
WRONG = frozenset({422})
UNREADABLE = frozenset({400})
EITHER = frozenset({400, 422})
JSON_TYPE = "application/json"


class Bad(NamedTuple):
    """A body and the statuses that it may be refused with."""

    body: bytes
    statuses: frozenset[int] = UNREADABLE
    content_type: str = JSON_TYPE


DEEP = 100_000
UNREADABLE_JSON = {
    "empty": b"",
    "only spaces": b"  \n ",
    "cut off": b'{"a": "b',
    "no value": b'{"a": }',
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // done',
    "two objects": b"{}{}",
    "bare word": b"undefined",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "leading zero": b'{"a": 007}',
    "hexadecimal": b'{"a": 0x10}',
    "plus sign": b'{"a": +1}',
    "number of 100,000 digits": b'{"nobody_knows": ' + b"1" * 100_000 + b"}",
    "fraction of 100,000 digits": b'{"nobody_knows": 0.' + b"1" * 100_000 + b"}",
    "exponent of 1000 digits": b'{"nobody_knows": 1e' + b"9" * 1000 + b"}",
    "1e400": b'{"nobody_knows": 1e400}',
    "raw control character": b'{"a": "\x01"}',
    "raw NUL": b'{"a": "\x00"}',
    "NUL around": b"\x00{}\x00",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": b'{"a": "caf\xe9"}',
    "Latin-1 name": b'{"caf\xe9": 1}',
    "broken UTF-8": b'{"a": "\xc3\x28"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "UTF-8 surrogate": b'{"a": "\xed\xa0\x80"}',
    "beyond Unicode": b'{"a": "\xf4\x90\x80\x80"}',
    "lone high surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": "\\udc00"}',
    "surrogates reversed": b'{"a": "\\udc00\\ud800"}',
    "bad escape": b'{"a": "\\x41"}',
    "short escape": b'{"a": "\\u12"}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep lists, open": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep below a field": b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "form": b"a=1&b=2",
    "pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.",
}
NO_OBJECTS = {
    "null": b"null",
    "true": b"true",
    "number": b"1",
    "string": b'"text"',
    "list": b"[]",
    "list of objects": b"[{}]",
    "huge integer": b"1" + b"0" * 400,
    "huge exponent": b"1e400",
    "million element list": b"[" + b"0," * 999_999 + b"0]",
}
STRANGE_MEMBERS = {
    "unknown field": b'{"nobody_knows": 1}',
    "empty name": b'{"": 1}',
    "prototype": b'{"__proto__": {"admin": true}, "constructor": 1}',
    "tenant": b'{"tenant_id": "00000000-0000-0000-0000-000000000000"}',
    "NUL in a name": b'{"a\\u0000b": 1}',
    "thousand unknown fields": json.dumps({f"f{i}": i for i in range(1000)}).encode(),
    "name of 1 MB": json.dumps({"n" * MIB: 1}).encode(),
    "10^400": b'{"nobody_knows": 1' + b"0" * 400 + b"}",
}
GENERIC: dict[str, Bad] = {
    **{name: Bad(body, EITHER) for name, body in UNREADABLE_JSON.items()},
    **{name: Bad(body, EITHER) for name, body in NO_OBJECTS.items()},
    **{name: Bad(body, WRONG) for name, body in STRANGE_MEMBERS.items()},
    "larger than the limit": Bad(b'{"a": "' + b"x" * (17 * MIB) + b'"}', frozenset({413})),
}
CONTENT_TYPES = {
    "no content type": "",
    "plain text": "text/plain",
    "form": "application/x-www-form-urlencoded",
    "XML": "application/xml",
    "almost JSON": "application/jsonx",
    "JSON Latin-1": "application/json; charset=latin-1",
    "JSON nonsense": "application/json; charset=nonsense",
    "JSON UTF-16": 'application/json; charset="utf-16"',
    "no type": ";;;===",
    "long": "application/" + "j" * 5000,
    "any": "*/*",
}
HUGE = 10 * MIB
ITEMS = "documents"
"""The field whose items are judged one by one: a wrong one does not make the request wrong."""
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "integer": 7,
    "negative": -1,
    "float": 0.5,
    "10^400": 10**400,
    "2^63": 2**63,
    "text": "text",
    "empty text": "",
    "text with NUL": "a\0b",
    "blank": " \t\n",
    "list": [],
    "list of null": [None],
    "list of lists": [[[]]],
    "list of objects": [{}],
    "object": {},
    "object of objects": {"a": {"b": {"c": 1}}},
    "object of lists of lists": {"a": [[1]]},
    "object with NUL": {"a\0": "b\0"},
    "thousand names": {f"n{i}": i for i in range(1000)},
    "long name": {"n" * 1000: 1},
    "escape": "../../../etc/passwd",
    "quote": "'; DROP TABLE documents; --",
}


def wrong_fields(route: Route) -> Iterator[tuple[str, str, bytes]]:
    """Yield (field, what is wrong, body) for every field of a route and every value that does not fit."""
    assert route.body is not None
    for field, schema in route.body["properties"].items():
        for name, value in VALUES.items():
            if field == ITEMS and value and isinstance(value, list):
                continue  # what is wrong with one of many documents is told of it in the answer
            if not fits(value, resolved(schema)) or "\\u0000" in json.dumps(value):
                yield field, name, json.dumps({**route.example, field: value}).encode()
        for name, text in {"10 MB": '"' + "x" * HUGE + '"', "1e400": "1e400"}.items():
            if field != "content":
                rest = json.dumps({key: item for key, item in route.example.items() if key != field})
                body = rest[:-1] + (", " if len(rest) > 2 else "") + f'"{field}": {text}' + "}"
                yield field, name, body.encode()


def all_wrong(route: Route) -> tuple[set[str], bytes]:
    """Return a body in which every field is of the wrong type and one is unknown, and their names."""
    assert route.body is not None
    # No field of the API may be such an object: of lists of lists, with an empty name.
    body = {name: {"": [[None]]} for name in [*route.body["properties"], "nobody_knows"]}
    return set(body), json.dumps(body).encode()


MANY = 1_000_000


def _filters(filters: bytes) -> tuple[str, bytes]:
    return "/api/search", b'{"query": "a", "filters": ' + filters + b"}"


def _document(members: bytes) -> tuple[str, bytes]:
    return "/api/documents", b'{"title": "a", ' + members + b"}"


def _names(value: object, count: int = MANY, name: str = "n") -> bytes:
    return json.dumps({f"{name}{i}": value for i in range(count)}).encode()


GREAT: dict[str, tuple[str, bytes]] = {
    "tags, each wrong": _document(b'"tags": [' + b"0," * MANY + b"0]"),
    "tags, too many": _document(b'"tags": [' + b'"a",' * MANY + b'"a"]'),
    "tags with NUL": _document(b'"tags": [' + b'"\\u0000",' * MANY + b"0]"),
    "metadata, many names": _document(b'"metadata": ' + _names(1)),
    "metadata, each wrong": _document(b'"metadata": ' + _names({})),
    "metadata, one great list": _document(b'"metadata": {"a": [' + b"0," * MANY + b"0]}"),
    "unknown fields": _document(_names(1)[1:-1]),
    "scopes": ("/api/keys", b'{"name": "a", "scopes": [' + b'"search",' * MANY + b'"search"]}'),
    "documents": ("/api/documents/batch", b'{"documents": [' + b"{}," * MANY + b"{}]}"),
    "jobs": ("/api/jobs/cancel", b'{"job_ids": [' + b"0," * MANY + b"0]}"),
    "documents to index again": ("/api/documents/reindex", b'{"document_ids": [' + b'"a",' * MANY + b'"a"]}'),
    "filter, many values": _filters(b'{"doc_type": [' + b'"a",' * MANY + b"0]}"),
    "filter, empty ones": _filters(b'{"or": [' + b"{}," * MANY + b"{}]}"),
    "filter, each wrong": _filters(b'{"or": [' + b"0," * MANY + b"0]}"),
    "filter, all tags": _filters(b'{"tags": {"all": [' + b'"a",' * MANY + b"0]}}"),
    "filter, unknown names": _filters(_names(1)),
    "filter, long names": _filters(_names(1, 1000, "n" * 10_000)),
}
"""By what there is a million of: a route and a body."""

EACH_WRONG: dict[str, bytes] = {
    "empty": b"{}",
    "no object": b"[]",
    "long lists": b'{"title": "a", "tags": [' + b'"a",' * 3900 + b"0]}",
    "wrong items": b'{"title": "a", "tags": [' + b"0," * 7000 + b"0]}",
    "many names": json.dumps({f"n{i}": 1 for i in range(1200)}).encode(),
    "NUL": b'{"title": "a", "tags": ["' + b"\\u0000" * 2500 + b'"]}',
    "metadata": json.dumps({"title": "a", "metadata": {f"n{i}": {} for i in range(1200)}}).encode(),
}
"""A document of which a thousand are sent in one request, as large as it may be."""
