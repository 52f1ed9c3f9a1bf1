"""How many hosts have connections that are kept."""

from quarry_common import tls
from quarry_webhooks.egress.connecting import IDLE_SECONDS, MAX_REUSED, Connections


async def test_the_connections_of_many_hosts_are_not_all_kept() -> None:
    now = 0.0
    connections = Connections((), tls.context(), 1.0, clock=lambda: now)
    lasting = connections.for_host("host-0")

    assert lasting is not connections.fresh
    assert all(connections.for_host(f"host-{number}") is lasting for number in range(MAX_REUSED))
    assert connections.for_host("one-too-many") is connections.fresh
    now = IDLE_SECONDS / 2
    assert connections.for_host("host-0") is lasting
    now = IDLE_SECONDS
    # The others have been idle for so long that theirs are closed; host-0 has not.
    assert all(connections.for_host(f"new-{number}") is lasting for number in range(MAX_REUSED - 1))
    assert connections.for_host("one-too-many") is connections.fresh
    await connections.close()
