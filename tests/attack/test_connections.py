"""Requests that are no HTTP, headers that lie, bodies that break off, crawl or never come."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from tests.attack.addresses import NO_HTTP
from tests.attack.conftest import Attacker, Victim
from tests.attack.judge import bare, faults
from tests.attack.wire import Answer, Headers, Host, NoAnswerError, connected, read_answer, request
from tests.platform import Platform, until

SEARCH = "/api/search"
QUERY = json.dumps({"query": "walrus"}).encode()
MOST_BUFFERED_BYTES = 700 << 20
"""Bodies that are read (256 MiB), and what is made of the one that is being looked at."""
JSON_TYPE = {"content-type": "application/json"}
CHUNKED = {**JSON_TYPE, "transfer-encoding": "chunked"}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_is_refused_without_a_word(data: bytes, host: Host) -> None:
    try:
        answer = await host.send(data)
    except NoAnswerError:
        return  # closing is an answer, too

    assert not bare(answer)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"ffffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        b"1\r\n{}\r\n0\r\n\r\n",
        b"2;" + b"a" * 50_000 + b"\r\n{}\r\n0\r\n\r\n",
        b"2\n{}\n0\n\n",
    ],
    ids=["no number", "negative", "huge", "too short", "long extension", "bare line feeds"],
)
async def test_chunks_that_lie_are_refused(chunks: bytes, attacker: Attacker) -> None:
    answer = await attacker.send("POST", SEARCH, chunks, CHUNKED)

    assert not faults(answer, {400, 422})


async def test_headers_after_the_chunks_change_nothing(attacker: Attacker, victim: Victim) -> None:
    size = f"{len(QUERY):x}".encode()
    trailer = f"X-Tenant: {victim.tenant.slug}\r\nX-API-Key: x\r\n".encode()

    answer = await attacker.send(
        "POST", SEARCH, size + b"\r\n" + QUERY + b"\r\n0\r\n" + trailer + b"\r\n", CHUNKED
    )

    assert answer.status == 200
    assert victim.secret not in answer.body.decode()


async def test_a_body_longer_than_announced_is_no_second_answer_to_the_first(attacker: Attacker) -> None:
    headers = {**attacker.credentials(), **JSON_TYPE}

    answer = await attacker.host.send(request("POST", SEARCH, headers, QUERY, length=5))

    assert not faults(answer, {400})


async def test_a_request_hidden_in_a_body_is_not_answered(attacker: Attacker) -> None:
    hidden = request("DELETE", "/api/collections/herons", attacker.credentials())
    headers = {**attacker.credentials(), **CHUNKED, "content-length": "4"}
    whole = f"{len(hidden):x}".encode() + b"\r\n" + hidden + b"\r\n0\r\n\r\n"
    async with asyncio.timeout(20), connected(attacker.host) as (reader, writer):
        writer.write(request("POST", SEARCH, headers, whole))

        first = await read_answer(reader)

        assert not faults(first, {400})
        writer.write(request("GET", "/api/version", {"connection": "close"}))
        rest = await reader.read()
        # Either nothing more, or the answer to what was really sent next.
        assert not rest or (rest.count(b"HTTP/1.1") == 1 and b'"version"' in rest)


async def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(attacker: Attacker) -> None:
    headers = {**attacker.credentials(), **JSON_TYPE}

    answer = await attacker.host.send(request("POST", SEARCH, headers, b"{", length=10**12), seconds=10)

    assert not faults(answer, {413})


async def test_an_endless_body_is_refused_at_the_limit(attacker: Attacker, platform: Platform) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield request("POST", SEARCH, {**attacker.credentials(), **CHUNKED})
        while True:
            yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    try:
        answer = await attacker.host.send(endless())
    except NoAnswerError:
        # A connection that is closed on a client still sending may be reset before the answer is read.
        answer = None

    assert answer is None or not faults(answer, {413})
    assert (await attacker.own.http.get("/api/health")).status_code == 200


async def test_who_expects_to_be_asked_is_refused_without_sending(attacker: Attacker) -> None:
    headers = {**JSON_TYPE, "expect": "100-continue"}

    answer = await attacker.host.send(request("POST", SEARCH, headers, length=1000), seconds=10)

    assert not faults(answer, {401})


async def test_a_body_in_single_bytes_is_read(attacker: Attacker) -> None:
    async def crawling() -> AsyncIterator[bytes]:
        yield request("POST", SEARCH, {**attacker.credentials(), **JSON_TYPE}, length=len(QUERY))
        for byte in QUERY:
            yield bytes([byte])
            await asyncio.sleep(0)

    assert (await attacker.host.send(crawling())).status == 200


@pytest.mark.parametrize("half_close", [True, False], ids=["half closed", "closed"])
async def test_clients_that_go_in_the_middle_leave_nothing(
    half_close: bool, attacker: Attacker, platform: Platform
) -> None:
    def blobs() -> set[str]:
        return {str(path) for path in platform.layout.blobs.rglob("*") if path.is_file()}

    before = blobs()
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 300_000
    headers = {**attacker.credentials(), "content-type": "multipart/form-data; boundary=x"}
    for _ in range(20):
        async with asyncio.timeout(20), connected(attacker.host) as (reader, writer):
            writer.write(request("POST", "/api/documents", headers, form, length=10**6))
            await writer.drain()
            if half_close:
                writer.write_eof()
                assert not faults(await read_answer(reader), {400})

    async def gone() -> bool:
        return blobs() == before

    await until(gone, 10, "no upload is left")


async def test_many_large_bodies_at_once_are_bounded(attacker: Attacker, platform: Platform) -> None:
    gateway = platform.process("gateway")
    before = gateway.memory_info().rss
    body = json.dumps({"query": "walrus", "filters": {"doc_type": ["x" * (15 << 20)]}}).encode()
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, gateway.memory_info().rss)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    answers = await asyncio.gather(
        *(attacker.send("POST", SEARCH, body, JSON_TYPE) for _ in range(24)), return_exceptions=True
    )
    watching.cancel()

    told = [answer for answer in answers if isinstance(answer, Answer)]
    assert told
    assert not [found for answer in told if (found := faults(answer, {413, 422, 503}))]
    assert most - before < MOST_BUFFERED_BYTES


async def test_silent_connections_keep_nobody_out(attacker: Attacker) -> None:
    starts = [b"", b"GET /api", request("POST", SEARCH, {**attacker.credentials(), **JSON_TYPE}, length=9)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        done = asyncio.Event()

        async def hang(start: bytes) -> None:
            async with connected(attacker.host) as (_, writer):
                writer.write(start)
                await writer.drain()
                await done.wait()

        for start in starts * 100:
            group.create_task(hang(start))
        for _ in range(10):
            assert (await attacker.send("GET", "/api/jobs")).status == 200
        done.set()


HEADERS: dict[str, tuple[Headers, set[int]]] = {
    "no key": ({"x-api-key": ""}, {401}),
    "key of spaces": ({"x-api-key": "   "}, {401}),
    "key of noise": ({"x-api-key": b"\xff\xfe\xfd"}, {401}),
    "key of 50 KB": ({"x-api-key": "k" * 50_000}, {401}),
    "key with quotes": ({"x-api-key": "' OR 1=1 --"}, {401}),
    "Bearer without key": ({"x-api-key": "", "authorization": "Bearer"}, {401}),
    "Bearer with two words": ({"x-api-key": "", "authorization": "Bearer a b"}, {401}),
    "Basic": ({"x-api-key": "", "authorization": "Basic YWRtaW46YWRtaW4="}, {401}),
    "another scheme": ({"x-api-key": "", "authorization": "Negotiate abc"}, {401}),
    "JWT without signature": ({"x-api-key": "", "authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}, {401}),
    "two different keys": ({"authorization": "Bearer qk_live_other"}, {401}),
    "another tenant": ({"x-tenant": "default"}, {403}),
    "tenant with a line break": ({"x-tenant": "a%0d%0ab"}, {403}),
    "tenant of noise": ({"x-tenant": b"\xff\xfe"}, {403}),
    "tenant of 50 KB": ({"x-tenant": "t" * 50_000}, {403}),
    "tenant is a path": ({"x-tenant": "../default"}, {403}),
}


@pytest.mark.parametrize(("headers", "statuses"), HEADERS.values(), ids=HEADERS)
async def test_no_header_lets_anybody_in(headers: Headers, statuses: set[int], attacker: Attacker) -> None:
    assert not faults(await attacker.send("GET", "/api/jobs", b"", headers), statuses)


@pytest.mark.parametrize("name", ["x-api-key", "authorization", "x-tenant", "idempotency-key"])
async def test_a_header_that_decides_may_not_be_repeated(name: str, attacker: Attacker) -> None:
    plain = request("GET", "/api/jobs", attacker.credentials())
    twice = f"{name}: a\r\n{name}: b\r\n\r\n".encode()

    assert not faults(await attacker.host.send(plain[:-2] + twice), {400})


@pytest.mark.parametrize(
    "slug", ["", "nobody", "../default", "DEFAULT", "a" * 64, "a" * 50_000, "a'--", b"\xff\xfe", b"\xc3\xa4"]
)
async def test_an_operator_is_refused_a_tenant_that_is_none(slug: str | bytes, attacker: Attacker) -> None:
    headers: Headers = {"x-api-key": attacker.operator_key, "x-tenant": slug}

    assert not faults(await attacker.send("GET", "/api/jobs", b"", headers), {404})


@pytest.mark.parametrize(
    "request_id",
    ["a" * 60_000, "a b", "<script>", "a\nX-Injected: b", b"\xff\xfe", "%0d%0aX-Injected: b", "a,b"],
)
async def test_a_strange_request_id_is_replaced(request_id: str | bytes, attacker: Attacker) -> None:
    answer = await attacker.send("GET", "/api/nothing", b"", {"x-request-id": request_id})

    assert not faults(answer, {404})
    assert "x-injected" not in answer.headers
    told = answer.headers["x-request-id"]
    assert len(told) <= 128
    assert told != request_id


@pytest.mark.parametrize("trace", ["00-", "0" * 5000, "00-" + "z" * 32 + "-" + "0" * 16 + "-01", b"\xff"])
async def test_a_strange_trace_is_ignored(trace: str | bytes, attacker: Attacker) -> None:
    headers: Headers = {"traceparent": trace, "tracestate": "a" * 5000, "baggage": "b" * 5000}

    assert (await attacker.send("GET", "/api/jobs", b"", headers)).status == 200


@pytest.mark.parametrize("key", ["", "a" * 256, "a\tb", b"\xff\xfe", "\u00e4"])
async def test_a_strange_idempotency_key_is_named(key: str | bytes, attacker: Attacker) -> None:
    headers: Headers = {**JSON_TYPE, "idempotency-key": key}

    answer = await attacker.send("POST", "/api/documents", b'{"title": "a"}', headers)

    assert not faults(answer, {422})


async def test_http_1_0_and_an_absolute_address_are_answered(attacker: Attacker) -> None:
    old = await attacker.host.send(request("GET", "/api/jobs", attacker.credentials(), version="HTTP/1.0"))
    absolute = await attacker.send("GET", "http://evil.test/api/jobs")

    assert old.status == absolute.status == 200
    assert "evil" not in absolute.body.decode()


async def test_slashes_before_an_external_id_become_no_part_of_it(attacker: Attacker) -> None:
    body = b'{"title": "a"}'

    doubled = await attacker.send("PUT", "//api/documents/by-external-id/heron", body, JSON_TYPE)
    absolute = await attacker.send(
        "PUT", "http://evil.test/api/documents/by-external-id/swan", body, JSON_TYPE
    )

    assert not faults(doubled, {404})
    found = await attacker.own.client.get_document(absolute.json["document_id"])
    assert found.external_id == "swan"
