"""`quarry cache`."""

import json

import pytest
from libs.client.tests.conftest import Quarry
from libs.client.tests.http_server import Reply, Server

TIER = {"hits": 3, "misses": 1, "hit_rate": 0.75, "entries": 17, "bytes": 4_424_000, "evictions": 5}
COUNTS = {
    "name": "answers", "hits": 3, "misses": 1, "hit_rate": 0.75, "paused": 9, "memory": TIER,
    "redis": None, "shared_computations": 0,
}  # fmt: skip
OF_ONE = COUNTS | {"breaker": "half_open", "recent_hit_rate": None}
REPORT = {
    "answered": 2,
    "instances": [
        {"service": service, "instance": name, "caches": [OF_ONE], "redis": None}
        for service, name in (("search", "s-1"), ("gateway", "g-1"))
    ],
    "caches": [COUNTS | {"hits": 6, "hit_rate": None}],
    "total": COUNTS,
    "redis": {"entries": 70, "bytes": 7_000_000, "evictions": 0},
}
PURGED = {
    "tenant": None, "answered": 3, "instances": [], "memory_entries": 12, "redis_entries": 7, "complete": True
}  # fmt: skip


def test_each_process_is_shown_with_its_service_and_all_together(quarry: Quarry, served: Server) -> None:
    served.answer = lambda _: Reply(200, REPORT)

    lines = quarry("cache", "stats").stdout.splitlines()

    (first,) = [line for line in lines if "s-1" in line]
    assert first.split() == ["search", "s-1", "answers", "3", "1", "75%", "9", "17", "4.2", "5", "half_open"]
    (second,) = [line for line in lines if "g-1" in line]
    assert second.split()[0] == "gateway"
    (together,) = [line for line in lines if "all" in line.split()]
    assert "%" not in together
    assert "2 processes answered." in lines
    assert "70 entries, 6.7 MB" in lines[-1]
    assert json.loads(quarry("cache", "stats", "--json").stdout)["answered"] == 2


@pytest.mark.parametrize(
    ("arguments", "answer", "code", "told"),
    [
        (("--yes",), {}, 0, "12 entries of all tenants in the memory of 3 processes, and 7 in Redis"),
        (("--tenant", "acme"), {"tenant": "acme"}, 0, "of the tenant acme"),
        (("--yes",), {"complete": False}, 1, "Some may be left"),
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
    assert request.headers.get("x-tenant") == (arguments[1] if len(arguments) > 1 else None)
    assert quarry("cache", "purge", "--json", *arguments).exit_code == code


@pytest.mark.parametrize(("typed", "purges"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_without_a_tenant_it_asks_before_everybodys_are_emptied(
    quarry: Quarry, served: Server, typed: str, purges: int
) -> None:
    served.answer = lambda _: Reply(200, PURGED)

    done = quarry("cache", "purge", "--json", stdin=typed)

    assert "the caches of all tenants" in done.stderr
    assert (done.exit_code, len(served.received)) == (1 - purges, purges)
    assert (json.loads(done.stdout)["complete"] if purges else done.stdout) == (True if purges else "")
