"""Makes one request: its headers, its signature, its span."""

from datetime import datetime
from importlib.metadata import version

import msgspec

from quarry_common.telemetry import tracing
from quarry_webhooks.delivering.metrics import ATTEMPT_SECONDS, ATTEMPTS
from quarry_webhooks.delivering.ports import Tools
from quarry_webhooks.domain.endpoints import is_reserved
from quarry_webhooks.domain.results import Attempt
from quarry_webhooks.repository.due import Due, Endpoint
from quarry_webhooks.signing import signatures

USER_AGENT = f"Quarry-Webhooks/{version('quarry-webhooks')}"
HIDDEN = "(hidden)"
"""What the log shows in the place of what an endpoint's own headers hold."""


class Receiver(msgspec.Struct, frozen=True):
    """An endpoint with its secrets and headers opened."""

    endpoint: Endpoint
    secret: str
    previous_secret: str | None
    headers: dict[str, str]

    def secrets(self, now: datetime) -> list[str]:
        """Return those that sign now."""
        until = self.endpoint.previous_until
        if self.previous_secret is None or until is None or until <= now:
            return [self.secret]
        return [self.secret, self.previous_secret]


def receiver(endpoint: Endpoint, tools: Tools) -> Receiver:
    """Open what is sealed. Raises what the sealer raises, when it has not the key."""

    def opened(sealed: bytes) -> bytes:
        return tools.sealer.open(endpoint.tenant_id, endpoint.id, sealed)

    own = msgspec.json.decode(opened(endpoint.headers), type=dict[str, str])
    return Receiver(
        endpoint,
        opened(endpoint.secret).decode(),
        None if endpoint.previous_secret is None else opened(endpoint.previous_secret).decode(),
        {name: value for name, value in own.items() if not is_reserved(name)},
    )


async def attempt(due: Due, to: Receiver, tools: Tools) -> Attempt:
    """Send a delivery once and return how it ended."""
    assert due.payload is not None  # noqa: S101 - what has none is not sent
    webhook_id, started_at = str(due.message_id), tools.clock()
    with tracing.span(
        "webhook attempt",
        kind=tracing.CLIENT,
        links=tracing.link_to(due.traceparent),
        attributes={
            "webhook.id": webhook_id,
            "webhook.event_type": due.event_type,
            "webhook.endpoint_id": str(to.endpoint.id),
            "webhook.step": due.step,
        },
    ) as span:
        ours = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(started_at.timestamp())),
        }
        if trace := tracing.traceparent():
            ours["traceparent"] = trace
        signature = signatures(to.secrets(started_at), webhook_id, int(started_at.timestamp()), due.payload)
        exchange = await tools.sender.post(
            to.endpoint.url, {**to.headers, **ours, "webhook-signature": signature}, due.payload
        )
        span.set_attribute("webhook.outcome", exchange.outcome.value)
        if exchange.status is not None:
            span.set_attribute("http.response.status_code", exchange.status)
    ATTEMPTS.labels(exchange.outcome.value).inc()
    ATTEMPT_SECONDS.observe(exchange.duration_ms / 1000)
    return Attempt(
        delivery_id=due.id,
        step=due.step,
        started_at=started_at,
        ended_at=tools.clock(),
        duration_ms=exchange.duration_ms,
        outcome=exchange.outcome,
        status=exchange.status,
        detail=exchange.detail,
        url=to.endpoint.url,
        request_headers={**dict.fromkeys(to.headers, HIDDEN), **ours},
        response_headers=exchange.headers,
        response_excerpt=exchange.excerpt,
    )
