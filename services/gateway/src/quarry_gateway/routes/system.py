"""What operators, probes and load balancers ask."""

from importlib.metadata import version

import msgspec
from litestar import Response, get

from quarry_common import ops
from quarry_gateway.gateway import Call, gateway_of, reply
from quarry_gateway.health.checks import HealthReport, HealthStatus, report
from quarry_gateway.http.operations import PUBLIC, Operation, declare

TAG = "System"
VERSION = version("quarry-gateway")


class Version(msgspec.Struct, frozen=True):
    """What is running."""

    version: str
    api: str = "v1"


@get(
    "/api/health",
    opt=declare(
        Operation(
            access=PUBLIC,
            tag=TAG,
            summary="How the platform is",
            description="200 also when degraded; 503 when nothing can be served.",
            replies={200: HealthReport, 503: HealthReport},
        )
    ),
)
async def health(request: Call) -> Response[bytes]:
    """Answer how every dependency is."""
    found = report(await gateway_of(request).dependencies.results(), VERSION)
    return reply(found, 503 if found.status is HealthStatus.UNHEALTHY else 200)


@get(
    "/api/version",
    opt=declare(Operation(access=PUBLIC, tag=TAG, summary="What is running", replies={200: Version})),
)
async def show_version() -> Response[bytes]:
    """Answer the version."""
    return reply(Version(VERSION))


def _probe(summary: str, kind: str, *statuses: int) -> Operation:
    return Operation(access=PUBLIC, tag=TAG, summary=summary, replies=dict.fromkeys(statuses, kind))


async def _page(request: Call) -> Response[bytes]:
    page = await ops.answer(request.scope["path"], gateway_of(request).readiness)
    assert page is not None  # noqa: S101 - every path below is one of its pages
    status, media_type, body = page
    return Response(body, status_code=status, media_type=media_type)


@get("/livez", opt=declare(_probe("Whether the process is alive", "application/json", 200)))
async def livez(request: Call) -> Response[bytes]:
    """Answer without asking anything else."""
    return await _page(request)


@get("/readyz", opt=declare(_probe("Whether requests may be sent here", "application/json", 200, 503)))
async def readyz(request: Call) -> Response[bytes]:
    """Answer whether the process is ready, and why not."""
    return await _page(request)


@get("/metrics", opt=declare(_probe("Metrics in Prometheus' text format", "text/plain", 200)))
async def metrics(request: Call) -> Response[bytes]:
    """Answer the metrics of this process."""
    return await _page(request)


HANDLERS = [health, show_version, livez, readyz, metrics]
