"""How commands show webhooks."""

from collections.abc import Iterable

import click

from quarry_client.cli.output import amount, print_fields, print_json, print_table, whole
from quarry_client.types import (
    Delivery,
    DeliveryDetail,
    Replay,
    Webhook,
    WebhookHour,
    WebhookStats,
    WebhookWithSecret,
)


def show_secret(made: WebhookWithSecret, *, as_json: bool) -> None:
    """Print a secret alone on the output, and whose it is beside it."""
    if as_json:
        print_json(made)
        return
    click.echo(made.secret)
    click.echo(
        f"Keep this secret now: it is not shown again. The endpoint's id is {made.endpoint.id}.", err=True
    )


def show_webhooks(endpoints: Iterable[Webhook]) -> None:
    """Print endpoints as a table."""
    rows = (
        (e.id, e.url, e.event_types, _state(e), e.pending, e.held, e.last_delivered_at) for e in endpoints
    )
    columns = (whole("id"), "url", "events", "state", amount("pending"), amount("held"), "last delivered")
    print_table(columns, rows, empty="There are no webhooks.")


def show_webhook(endpoint: Webhook, *, as_json: bool) -> None:
    """Print all that is known of an endpoint."""
    if as_json:
        print_json(endpoint)
        return
    print_fields(
        [
            ("id", endpoint.id),
            ("url", endpoint.url),
            ("state", _state(endpoint)),
            ("events", endpoint.event_types),
            ("description", endpoint.description or None),
            ("headers", endpoint.header_names),
            ("ordered", "yes" if endpoint.ordered else "no"),
            ("requests per second", endpoint.requests_per_second or "no limit"),
            ("pending", endpoint.pending),
            ("held", endpoint.held),
            ("last delivered", endpoint.last_delivered_at),
            *([("failing since", endpoint.failing_since)] if endpoint.failing_since else []),
            *([("no attempts before", endpoint.circuit_until)] if endpoint.circuit_until else []),
            *([("old secret until", endpoint.secret_expires_at)] if endpoint.secret_expires_at else []),
            ("revision", endpoint.revision),
        ]
    )


def show_deliveries(deliveries: Iterable[Delivery]) -> None:
    """Print deliveries as a table."""
    rows = (
        (d.id, d.event_type, d.subject, d.state, d.attempts, _last(d), d.created_at, d.next_attempt_at)
        for d in deliveries
    )
    columns = (
        whole("id"), "event", "subject", "state", amount("attempts"), "last", "made", "next attempt",
    )  # fmt: skip
    print_table(columns, rows, empty="There are no such deliveries.")


def show_delivery(detail: DeliveryDetail, *, as_json: bool) -> None:
    """Print a delivery, what is sent, and its attempts."""
    if as_json:
        print_json(detail)
        return
    delivery = detail.delivery
    print_fields(
        [
            ("id", delivery.id),
            ("webhook-id", delivery.webhook_id),
            ("event", delivery.event_type),
            ("subject", delivery.subject),
            ("state", delivery.state),
            ("made", delivery.created_at),
            ("next attempt", delivery.next_attempt_at),
            ("delivered", delivery.delivered_at),
        ]
    )
    rows = (
        (a.number, a.started_at, a.outcome, a.status, f"{a.duration_ms:.0f} ms", a.detail)
        for a in detail.attempts
    )
    columns = (amount("attempt"), "at", "outcome", "status", amount("took"), "detail")
    print_table(columns, rows, empty="It was not tried yet.")
    print_json(detail.payload)


def show_replay(replay: Replay, *, as_json: bool) -> None:
    """Print how far a recovery or a replay is."""
    if as_json:
        print_json(replay)
        return
    print_fields(
        [
            ("id", replay.id),
            ("kind", replay.kind),
            ("state", replay.state),
            ("since", replay.since),
            ("until", replay.until),
            ("events", replay.event_types),
            ("examined", replay.examined),
            ("made again", replay.matched),
            *([("error", replay.error)] if replay.error else []),
        ]
    )


def show_stats(stats: WebhookStats, *, as_json: bool) -> None:
    """Print rates and durations, each hour's and in all."""
    if as_json:
        print_json(stats)
        return
    rows = [
        *(_hour(f"{hour.hour:%Y-%m-%d %H:00}", hour) for hour in stats.hours),
        _hour("in all", stats.total),
    ]
    columns = (
        whole("hour"), amount("attempts"), amount("delivered"), amount("failed"), amount("success"),
        amount("p50"), amount("p95"),
    )  # fmt: skip
    print_table(columns, rows, empty="")


def _hour(name: str, hour: WebhookHour) -> tuple[object, ...]:
    rate = None if hour.success_rate is None else f"{hour.success_rate:.1%}"
    return (name, hour.attempts, hour.delivered, hour.failed, rate, _ms(hour.p50_ms), _ms(hour.p95_ms))


def _ms(duration: float | None) -> str | None:
    return None if duration is None else f"{duration:.0f} ms"


def _last(delivery: Delivery) -> str | None:
    status = f" {delivery.last_status}" if delivery.last_status is not None else ""
    return f"{delivery.last_outcome}{status}" if delivery.last_outcome else None


def _state(endpoint: Webhook) -> str:
    if not endpoint.enabled:
        return f"disabled ({endpoint.disabled_reason})"
    if endpoint.failing_since is not None:
        return "failing"
    return "enabled"
