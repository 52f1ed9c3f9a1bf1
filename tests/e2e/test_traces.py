"""One trace from the HTTP request to the last store, as an OTLP receiver sees it."""

import secrets

from tests.platform import Tenant, until
from tests.spans import CLIENT, CONSUMER, SERVER, Receiver, Span

GATEWAY, SEARCH, INDEXER = "quarry-gateway", "quarry-search", "quarry-indexer"


def began() -> tuple[str, str, dict[str, str]]:
    """Return a new trace's id, the caller's span and the header that asks for it to be recorded."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return trace_id, span_id, {"traceparent": f"00-{trace_id}-{span_id}-01"}


class Trace:
    """The spans of one trace and who is whose parent."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans
        self._by_id = {span.span_id: span for span in spans}

    def one(self, service: str, name: str) -> Span:
        """Return the only span of that service and name."""
        found = self.named(service, name)
        assert len(found) == 1, f"{len(found)} spans {name!r} of {service} in {self}"
        return found[0]

    def named(self, service: str, name: str) -> list[Span]:
        return [span for span in self.spans if (span.service, span.name) == (service, name)]

    def below(self, ancestor: Span) -> list[Span]:
        return [span for span in self.spans if ancestor in self.ancestors(span)]

    def ancestors(self, span: Span) -> list[Span]:
        found = []
        while (parent := self._by_id.get(span.parent_id)) is not None:
            found.append(parent)
            span = parent
        return found

    def parent(self, span: Span) -> Span:
        return self._by_id[span.parent_id]

    def __str__(self) -> str:
        return "\n".join(
            f"{each.service} {each.name} {each.span_id} < {each.parent_id}" for each in self.spans
        )


async def complete(receiver: Receiver, trace_id: str, *wanted: tuple[str, str]) -> Trace:
    """Return the trace once every wanted span has arrived and every parent but the caller's is there."""

    async def arrived() -> Trace | None:
        trace = Trace(receiver.of_trace(trace_id))
        if not all(trace.named(*each) for each in wanted):
            return None
        known = {span.span_id for span in trace.spans}
        orphans = [span for span in trace.spans if span.parent_id not in known]
        return trace if len(orphans) == 1 else None

    try:
        return await until(arrived, 20, f"{wanted} in a trace that hangs together")
    except AssertionError as error:
        raise AssertionError(f"{error}; there is\n{Trace(receiver.of_trace(trace_id))}") from None


async def test_a_search_is_one_trace_from_the_gateway_to_the_vector_index(
    tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.put("a", "The copper kettle whistles.")
    trace_id, caller, headers = began()

    answer = await tenant.http.post("/api/search", json={"query": "kettle"}, headers=headers)

    assert answer.status_code == 200
    trace = await complete(
        receiver, trace_id, (GATEWAY, "POST /api/search"), (SEARCH, "search.query"), (SEARCH, "qdrant scroll")
    )
    gateway = trace.one(GATEWAY, "POST /api/search")
    assert (gateway.kind, gateway.parent_id) == (SERVER, caller)
    served = trace.one(SEARCH, "search.query")
    asked = trace.parent(served)
    assert (asked.service, asked.kind, asked.parent_id) == (GATEWAY, CLIENT, gateway.span_id)
    assert served.kind == SERVER
    for name, stage in (("qdrant query dense", "search index"), ("qdrant scroll", "search fetch")):
        called = trace.one(SEARCH, name)
        assert called.kind == CLIENT
        assert called.attributes["db.system.name"] == "qdrant"
        assert trace.parent(called).name == stage
        assert served in trace.ancestors(called)
    assert served.attributes["results"] == 1
    assert gateway.attributes["http.response.status_code"] == 200


async def test_an_upload_is_one_trace_from_the_gateway_to_the_indexed_document(
    tenant: Tenant, receiver: Receiver
) -> None:
    trace_id, caller, headers = began()

    sent = await tenant.http.post(
        "/api/documents",
        json={"title": "Traced", "content": "The copper kettle whistles."},
        params={"wait": "searchable"},
        headers=headers,
    )

    assert sent.status_code == 200, sent.text
    stages = ("index fetch", "index parse", "index embed", "index activate")
    trace = await complete(
        receiver,
        trace_id,
        (GATEWAY, "POST /api/documents"),
        (INDEXER, "index document"),
        *((INDEXER, stage) for stage in stages),
    )
    gateway = trace.one(GATEWAY, "POST /api/documents")
    assert gateway.parent_id == caller
    accepted = trace.one(INDEXER, "indexer.accept")
    assert trace.parent(accepted).service == GATEWAY
    assert gateway in trace.ancestors(accepted)
    statements = [span for span in trace.below(accepted) if span.attributes.get("db.system") == "postgresql"]
    assert any("INSERT INTO versions" in str(span.attributes.get("db.statement")) for span in statements)
    job = trace.one(INDEXER, "index document")
    assert job.kind == CONSUMER
    assert accepted in trace.ancestors(job)
    assert job.attributes["document.id"] == sent.json()["document_id"]
    for stage in stages:
        assert job in trace.ancestors(trace.one(INDEXER, stage))
    for call in ("qdrant upsert", "qdrant set_payload"):
        assert job in trace.ancestors(trace.one(INDEXER, call))
    assert any(span.attributes.get("db.system") == "postgresql" for span in trace.below(job))


async def test_the_command_on_the_bus_belongs_to_the_trace_of_the_upload(
    tenant: Tenant, receiver: Receiver
) -> None:
    trace_id, _, headers = began()

    await tenant.http.post("/api/documents", json={"title": "Traced"}, headers=headers)

    trace = await complete(receiver, trace_id, (INDEXER, "indexer-commands process"))
    consumed = trace.one(INDEXER, "indexer-commands process")
    assert consumed.kind == CONSUMER
    assert trace.one(INDEXER, "indexer.accept") in trace.ancestors(consumed)


async def test_what_nobody_asked_to_be_recorded_is_not(tenant: Tenant, receiver: Receiver) -> None:
    trace_id, span_id, _ = began()
    quiet = {"traceparent": f"00-{trace_id}-{span_id}-00"}
    assert (await tenant.http.post("/api/search", json={"query": "x"}, headers=quiet)).status_code == 200

    # A recorded request that came later has arrived: the other one's spans would be there, too.
    later, _, headers = began()
    await tenant.http.post("/api/search", json={"query": "x"}, headers=headers)
    await complete(receiver, later, (GATEWAY, "POST /api/search"), (SEARCH, "search.query"))
    assert receiver.of_trace(trace_id) == []
