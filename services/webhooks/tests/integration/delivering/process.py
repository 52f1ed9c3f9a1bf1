"""A process that delivers, for tests that kill it: `python process.py DSN NATS_URL`."""

import asyncio
import ipaddress
import signal
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from quarry_common.contracts.streams import WEBHOOKS_EVENTS
from quarry_common.messaging import broker
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import NatsSettings, PostgresSettings, load
from quarry_webhooks import fan_out
from quarry_webhooks.composition import parts
from quarry_webhooks.delivering.ports import Rules
from quarry_webhooks.domain import circuit
from quarry_webhooks.egress.sending import Limits, Sender
from quarry_webhooks.egress.urls import Policy

ACK_WAIT_SECONDS = 2
RULES = Rules(delays_seconds=(0.0, *(0.1,) * 60), lease_seconds=2.0)


class PlainSealer:
    """Keeps what is sealed as it is."""

    def open(self, tenant_id: UUID, endpoint_id: UUID, sealed: bytes) -> bytes:
        return sealed


async def main(dsn: str, nats_url: str) -> None:
    # What a process that was killed had is taken over soon, and an endpoint that fails is tried again soon.
    fan_out.LEASE_SECONDS = 2.0
    fan_out.WEBHOOKS_EVENTS = msgspec.structs.replace(WEBHOOKS_EVENTS, ack_wait_seconds=ACK_WAIT_SECONDS)
    circuit.FIRST_OPEN, circuit.LONGEST_OPEN = timedelta(seconds=0.2), timedelta(seconds=0.5)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    sender = Sender(
        Policy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True),
        Limits(connect_seconds=1, total_seconds=1),
    )
    async with (
        connect_pool(load(PostgresSettings, {"DATABASE_URL": dsn}), "webhooks") as database,
        broker.connect(load(NatsSettings, {"NATS_URL": nats_url}), "webhooks") as bus,
    ):
        made = parts(database, bus, sender, PlainSealer(), RULES, lambda: datetime.now(UTC))
        await asyncio.gather(*(part.run(stopping) for part in made))
    await sender.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
