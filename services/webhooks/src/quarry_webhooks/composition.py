"""The parts that deliver, put together; `service.py` adds them to those that answer."""

from collections.abc import Sequence

from nats.aio.client import Client

from quarry_common.postgres.pool import Database
from quarry_common.service import Part
from quarry_webhooks import fan_out
from quarry_webhooks.delivering.measuring import Measuring
from quarry_webhooks.delivering.ports import Clock, Rules, Sealer, Sender, Tools
from quarry_webhooks.delivering.scheduler import Scheduler
from quarry_webhooks.housekeeping import Housekeeping
from quarry_webhooks.replaying import Replaying


def parts(
    database: Database, bus: Client, sender: Sender, sealer: Sealer, rules: Rules, clock: Clock
) -> Sequence[Part]:
    """Return what turns events into deliveries, delivers them, replays and forgets them.

    The scheduler keeps one connection of `database` to listen; the others are taken as needed.
    """
    return (
        fan_out.consumer(database, bus, clock),
        Scheduler(database, Tools(sender, sealer, clock), rules),
        Replaying(database, bus, clock),
        Housekeeping(database, rules, clock),
        Measuring(database, clock),
    )
