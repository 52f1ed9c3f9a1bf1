"""A relay in a process of its own, killed at the worst moment: `mortal_relay.py POINT`, with the settings of
database and bus in the environment. POINT is `commit` (before anything is published), `publish` (before what
was published is marked) or `never`."""

import asyncio
import os
import signal
import sys

from quarry_common.messaging import broker
from quarry_common.messaging.outbox import Relay
from quarry_common.postgres.pool import connect_pool
from quarry_common.settings import NatsSettings, PostgresSettings, load


async def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(point: str) -> None:
    async with (
        connect_pool(load(PostgresSettings), "probe") as database,
        broker.connect(load(NatsSettings), "mortal") as client,
    ):
        relay = Relay(database, client)
        if point == "commit":
            relay._publish = die  # type: ignore[method-assign,assignment]
        if point == "publish":
            relay._mark = die  # type: ignore[method-assign]
        await relay.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
