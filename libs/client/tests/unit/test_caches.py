"""`quarry cache`."""

import json

import pytest
from libs.client.tests.conftest import Quarry
from libs.client.tests.http_server import Reply, Server

TIER = {"hits": 3, "misses": 1, "hit_rate": 0.75, "entries": 17, "bytes": 4242, "evictions": 5}
COUNTS = {
    "name": "answers", "hits": 3, "misses": 1, "hit_rate": 0.75, "paused": 9, "memory": TIER,
    "redis": None, "shared_computations": 0,
}  # fmt: skip
OF_ONE = COUNTS | {"breaker": "half_open", "recent_hit_rate": None}
REPORT = {
    "answered": 2,
    "instances": [
        {"service": "search", "instance": name, "caches": [OF_ONE], "redis": None} for name in ("s-1", "s-2")
    ],
    "caches": [COUNTS | {"hits": 6, "hit_rate": None}],
    "total": COUNTS,
    "redis": {"entries": 70, "bytes": 7000, "evictions": 0},
}
PURGED = {
    "tenant": None, "answered": 3, "instances": [], "memory_entries": 12, "redis_entries": 7, "complete": True
}  # fmt: skip


def test_each_instance_is_shown_and_all_together(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, REPORT)

    lines = quarry("cache", "stats").stdout.splitlines()

    (first,) = [line for line in lines if "s-1" in line]
    assert [word for word in ("answers", "75%", "4242", "half_open") if word not in first] == []
    (together,) = [line for line in lines if "all" in line.split()]
    assert "%" not in together
    assert "2 processes answered." in lines
    assert "70 entries" in lines[-1]
    assert json.loads(quarry("cache", "stats", "--json").stdout)["answered"] == 2


@pytest.mark.parametrize(
    ("arguments", "answer", "code", "told"),
    [
        ((), {}, 0, "12 entries of all tenants in the memory of 3 processes, and 7 in Redis"),
        (("--tenant", "acme"), {"tenant": "acme"}, 0, "of the tenant acme"),
        ((), {"complete": False}, 1, "Some may be left"),
    ],
)
def test_a_purge_tells_what_it_did(
    quarry: Quarry,
    served: Server,
    arguments: tuple[str, ...],
    answer: dict[str, object],
    code: int,
    told: str,
) -> None:
    served.answer = lambda _: Reply(200, PURGED | answer)

    done = quarry("cache", "purge", *arguments)

    assert done.exit_code == code
    assert told in done.stdout + done.stderr
    (request,) = served.received
    assert (request.method, request.path) == ("DELETE", "/api/admin/cache")
    assert request.headers.get("x-tenant") == (arguments[1] if arguments else None)
    assert quarry("cache", "purge", "--json", *arguments).exit_code == code
