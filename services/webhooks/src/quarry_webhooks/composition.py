"""The parts that deliver, put together; `service.py` adds them to those that answer."""

from collections.abc import Sequence

from nats.aio.client import Client

from quarry_common.postgres.pool import Database
from quarry_common.service import Part
from quarry_webhooks import fan_out
from quarry_webhooks.delivering.measuring import Measuring
from quarry_webhooks.delivering.ports import Rules, Tools
from quarry_webhooks.delivering.scheduler import Scheduler
from quarry_webhooks.housekeeping import Housekeeping
from quarry_webhooks.replaying import Replaying


def parts(database: Database, bus: Client, tools: Tools, rules: Rules) -> Sequence[Part]:
    """Return what turns events into deliveries, delivers them, replays and forgets them.

    They share `database`: four of its connections are theirs for long, and it takes a few more to be quick.
    """
    return (
        fan_out.consumer(database, bus, tools.clock),
        Scheduler(database, tools, rules),
        Replaying(database, bus, tools.clock),
        Housekeeping(database, rules, tools.clock),
        Measuring(database, tools.clock),
    )
