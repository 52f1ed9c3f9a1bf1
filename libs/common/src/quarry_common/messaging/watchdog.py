"""Notices a stream or durable consumer that has vanished: its subscriber would stay silent for ever."""

from collections.abc import Iterable

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from prometheus_client import Gauge

from quarry_common.contracts.streams import Consumer
from quarry_common.errors import UnavailableError
from quarry_common.health import Check

PENDING = Gauge("quarry_consumer_pending", "Messages that wait for a durable consumer.", ("consumer",))
UNACKNOWLEDGED = Gauge("quarry_consumer_unacknowledged", "Messages delivered and not settled.", ("consumer",))


def consumers_exist(connection: Client, consumers: Iterable[Consumer]) -> Check:
    """Return a readiness check that fails while any of `consumers` is missing."""
    watched = tuple(consumers)
    jetstream = connection.jetstream(timeout=2)

    async def check() -> None:
        for consumer in watched:
            try:
                info = await jetstream.consumer_info(consumer.stream, consumer.name)
            except NotFoundError:
                raise UnavailableError(
                    f"The durable consumer {consumer.name} of stream {consumer.stream} is missing.",
                    advice="Run `quarry migrate`, then restart this service.",
                ) from None
            except (NatsError, TimeoutError, OSError) as error:
                raise UnavailableError("JetStream does not answer.") from error
            PENDING.labels(consumer.name).set(info.num_pending or 0)
            UNACKNOWLEDGED.labels(consumer.name).set(info.num_ack_pending or 0)

    return check
