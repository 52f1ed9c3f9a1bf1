"""One trace from the HTTP request to the last store, carried in W3C `traceparent` headers."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from quarry_common.settings import TelemetrySettings

CLIENT, CONSUMER, PRODUCER, SERVER = SpanKind.CLIENT, SpanKind.CONSUMER, SpanKind.PRODUCER, SpanKind.SERVER

_tracer = trace.get_tracer("quarry")


def instance_id(settings: TelemetrySettings) -> str:
    """Return the name of this process in telemetry."""
    return settings.instance_id or f"{socket.gethostname()}-{os.getpid()}"


def start(settings: TelemetrySettings, service: str) -> TracerProvider | None:
    """Begin to export traces, when the settings ask for it; the caller shuts the provider down."""
    if not settings.telemetry_enabled:
        return None
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor  # noqa: PLC0415 - costs memory when unused

    attributes = {
        "service.name": f"quarry-{service}",
        "service.namespace": "quarry",
        "service.version": version("quarry-common"),
        "service.instance.id": instance_id(settings),
        "region": settings.region,
        "cluster": settings.cluster,
    }
    provider = TracerProvider(
        resource=Resource.create({name: value for name, value in attributes.items() if value}),
        sampler=ParentBased(TraceIdRatioBased(settings.sampling_rate)),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter(settings)))
    trace.set_tracer_provider(provider)
    AsyncPGInstrumentor().instrument(tracer_provider=provider)
    return provider


def exporter(settings: TelemetrySettings) -> SpanExporter:
    """Return what sends spans to the receiver in the settings."""
    endpoint, ca_file = settings.otlp_endpoint, settings.otlp_ca_file
    # Each exporter loads a stack of its own; a process uses one of the two.
    if endpoint.rstrip("/").endswith((":4318", "/v1/traces")):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as HttpExporter,
        )

        address = endpoint if endpoint.endswith("/v1/traces") else f"{endpoint.rstrip('/')}/v1/traces"
        return HttpExporter(endpoint=address, timeout=5, certificate_file=ca_file or None)
    import grpc  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as GrpcExporter,
    )

    secure = endpoint.startswith("https:")
    credentials = grpc.ssl_channel_credentials(Path(ca_file).read_bytes()) if secure and ca_file else None
    return GrpcExporter(endpoint=endpoint, insecure=not secure, credentials=credentials, timeout=5)


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    headers: Mapping[str, str] | None = None,
    links: Sequence[Link] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """Open a span; `headers` of an incoming message make it a child of the sender's.

    An exception is recorded on the span and goes on.
    """
    parent = propagate.extract(headers) if headers else None
    token = context.attach(parent) if parent is not None else None
    try:
        with _tracer.start_as_current_span(
            name,
            kind=kind,
            links=links,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            try:
                yield opened
            except Exception as error:
                opened.record_exception(error)
                opened.set_status(failed(type(error).__name__))
                raise
    finally:
        if token is not None:
            context.detach(token)


def failed(reason: str) -> Status:
    """Return the status of a span whose work failed."""
    return Status(StatusCode.ERROR, reason)


def headers() -> dict[str, str]:
    """Return the headers that carry the present trace to the receiver of a message."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def traceparent() -> str:
    """Return the present trace in W3C form, or an empty string outside any."""
    return headers().get("traceparent", "")


def link_to(traceparent: str) -> tuple[Link, ...]:
    """Return a link to the trace of `traceparent`, as retries, replays and later work point to the first."""
    if not traceparent:
        return ()
    found = trace.get_current_span(propagate.extract({"traceparent": traceparent})).get_span_context()
    return (Link(found),) if found.is_valid else ()


def trace_id() -> str:
    """Return the present trace's id in hex, or an empty string outside any."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else ""
