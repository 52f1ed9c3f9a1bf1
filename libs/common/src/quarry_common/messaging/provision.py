"""Creates and updates streams and durable consumers. Only `quarry migrate` calls it."""

from collections.abc import Iterable

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from quarry_common.contracts.streams import Consumer, Stream

DUPLICATE_WINDOW_SECONDS = 120


def stream_config(stream: Stream, replicas: int) -> StreamConfig:
    """Return JetStream's configuration of `stream`."""
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.WORK_QUEUE if stream.work_queue else RetentionPolicy.LIMITS,
        # A full work queue refuses new commands, which then wait in the outbox; a full log drops its oldest.
        discard=DiscardPolicy.NEW if stream.work_queue else DiscardPolicy.OLD,
        max_age=stream.max_age_seconds,
        max_bytes=stream.max_bytes,
        max_msg_size=stream.max_message_bytes,
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW_SECONDS,
        allow_direct=True,
    )


def consumer_config(consumer: Consumer) -> ConsumerConfig:
    """Return JetStream's configuration of `consumer`."""
    return ConsumerConfig(
        durable_name=consumer.name,
        filter_subject=consumer.filter_subject,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=consumer.ack_wait_seconds,
        max_deliver=-1,  # the consumer's own limit ends in a dead letter; the server's would end in silence
        max_ack_pending=consumer.max_ack_pending,
    )


async def provision(
    jetstream: JetStreamContext, streams: Iterable[Stream], consumers: Iterable[Consumer], replicas: int
) -> None:
    """Bring streams and consumers to what this version declares; messages are kept."""
    for stream in streams:
        config = stream_config(stream, replicas)
        try:
            await jetstream.stream_info(stream.name)
        except NotFoundError:
            await jetstream.add_stream(config)
        else:
            await jetstream.update_stream(config)
    for consumer in consumers:
        # The server takes this as creation or, for one that exists, as an update of what may change.
        await jetstream.add_consumer(consumer.stream, consumer_config(consumer))
