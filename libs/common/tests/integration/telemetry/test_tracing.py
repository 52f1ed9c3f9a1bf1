"""Traces of several processes, received over OTLP as a collector would."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from quarry_common.contracts.streams import EVENTS, Consumer
from quarry_common.messaging import broker
from quarry_common.messaging.provision import provision
from quarry_common.settings import NatsSettings, load
from quarry_local.servers.postgres import with_login

CONSUMER = Consumer("EVENTS", "probe-events", "probe", "evt.v1.*.api_key.revoked")

SETUP = """
import asyncio, os, sys
import msgspec
from quarry_common.contracts.events import ApiKeyRevoked
from quarry_common.contracts.rpc import RpcMethod
from quarry_common.contracts.streams import Consumer
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.consumer import DurableConsumer
from quarry_common.messaging.outbox import Relay, publish_event
from quarry_common.messaging.rpc import RpcClient, RpcServer
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import NatsSettings, PostgresSettings, TelemetrySettings, load
from quarry_common.telemetry import tracing


class Text(msgspec.Struct, frozen=True):
    text: str


SAY = RpcMethod("probe", "say", Text, Text)
CONSUMER = Consumer("EVENTS", "probe-events", "probe", "evt.v1.*.api_key.revoked")
nats = load(NatsSettings)
provider = tracing.start(load(TelemetrySettings), sys.argv[1])
"""

SERVER = """
async def main():
    stopping, handled = asyncio.Event(), asyncio.Event()
    settings = load(PostgresSettings)
    async with broker.connect(nats, "probe") as bus, connect_pool(settings, "probe") as database:
        async def say(request):
            tenant_id = new_id()
            async with database.tenant_transaction(tenant_id) as connection:
                event = ApiKeyRevoked(key_id=new_id(), name=request.text)
                await publish_event(connection, event, service="probe", tenant_id=tenant_id)
            return request

        async def handle(delivery):
            handled.set()

        server = RpcServer(bus, "probe")
        server.answer(SAY, say)
        consumer = DurableConsumer(broker.broker(nats, "probe"), CONSUMER, handle)
        parts = [server, Relay(database, bus), consumer]
        tasks = [asyncio.create_task(part.run(stopping)) for part in parts]
        async with asyncio.timeout(30):
            await handled.wait()
            stopping.set()
            await asyncio.gather(*tasks)

asyncio.run(main())
provider.shutdown()
"""

CLIENT = """
from quarry_common.errors import UnavailableError

async def main():
    async with broker.connect(nats, "caller") as bus, asyncio.timeout(30):
        while True:
            try:
                with tracing.span("the request"):
                    return await RpcClient(bus).call(SAY, Text("hello"))
            except UnavailableError:
                await asyncio.sleep(0.05)

asyncio.run(main())
provider.shutdown()
"""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span it is sent, with the name of the service."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.spans: list[tuple[str, trace_pb2.Span]] = []

    def Export(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802 - the protocol's name
        with self._arrived:
            for resource in request.resource_spans:
                names = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [(names["service.name"], span) for span in scope.spans]
            self._arrived.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, found: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        with self._arrived:
            while not found():
                assert self._arrived.wait(timeout=deadline - time.monotonic()), [
                    s.name for _, s in self.spans
                ]


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    servicer = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"http://127.0.0.1:{port}"
    server.stop(grace=1).wait(timeout=5)


async def test_one_trace_spans_request_database_outbox_and_consumer(
    collector: tuple[Collector, str], nats_url: str, probe_admin_dsn: str
) -> None:
    received, endpoint = collector
    async with broker.connect(load(NatsSettings, {"NATS_URL": nats_url}), "test") as bus:
        await provision(bus.jetstream(), [EVENTS], [CONSUMER], replicas=1)
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "NATS_URL": nats_url,
        "DATABASE_URL": with_login(probe_admin_dsn, "quarry_probe", "of-the-test"),
        "TELEMETRY_ENABLED": "true",
        "SAMPLING_RATE": "1",
        "OTLP_ENDPOINT": endpoint,
    }
    started = [
        subprocess.Popen([sys.executable, "-c", SETUP + program, name], env=environ)  # noqa: ASYNC220 - it only starts
        for name, program in (("server", SERVER), ("client", CLIENT))
    ]
    try:
        assert [process.wait(timeout=60) for process in started] == [0, 0]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=5)

    received.wait_for(lambda: any(span.name == "probe-events process" for _, span in received.spans))
    (processed,) = [span for _, span in received.spans if span.name == "probe-events process"]
    in_trace = {
        span.span_id: (service, span)
        for service, span in received.spans
        if span.trace_id == processed.trace_id
    }

    def ancestry(span: trace_pb2.Span) -> list[tuple[str, str]]:
        names = []
        while span.parent_span_id:
            service, span = in_trace[span.parent_span_id]
            names.append((service, span.name))
        return names

    request = [("quarry-client", "rpc probe.say"), ("quarry-client", "the request")]
    assert ancestry(processed) == [("quarry-server", "probe.say"), *request]
    inserts = [span for _, span in in_trace.values() if "INSERT INTO outbox" in str(span.attributes)]
    assert inserts
    assert all(ancestry(span) == [("quarry-server", "probe.say"), *request] for span in inserts)
