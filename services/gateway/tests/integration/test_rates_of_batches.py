"""A batch costs what its parts would cost, and is let in or refused as a whole."""

import re
from collections.abc import Callable

import httpx
import msgspec
import pytest

from quarry_common import keys

SLACK_SECONDS = 8
"""That the machine may stand still; the rate is one unit per second."""


def limited_key(backend, burst: int, requests_per_second: int = 1) -> str:
    """Return a key of a tenant whose buckets take so many units at once."""
    key = backend.key()
    digest = keys.sha256(key)
    principal = backend.principals[digest]
    quotas = msgspec.structs.replace(
        backend.acme.quotas, requests_per_second=requests_per_second, burst=burst
    )
    # A tenant of its own, so that its buckets are.
    backend.principals[digest] = msgspec.structs.replace(
        principal, tenant_id=principal.key_id, tenant_slug="limited", quotas=quotas
    )
    return key


def searches(count: int) -> tuple[str, dict[str, object]]:
    return "/api/search/batch", {"queries": [{"query": f"q{number}"} for number in range(count)]}


def documents(count: int) -> tuple[str, dict[str, object]]:
    return "/api/documents/batch", {"documents": [{"title": f"d{number}"} for number in range(count)]}


def owed(answer: httpx.Response) -> int:
    """Return how many units are to be paid for: the seconds until the bucket is full again."""
    found = re.search(r";t=(\d+)", answer.headers["ratelimit"])
    assert found, answer.headers["ratelimit"]
    return int(found[1])


Made = Callable[[int], tuple[str, dict[str, object]]]
each_batch = pytest.mark.parametrize(
    ("made", "parts", "units"),
    [
        pytest.param(searches, 20, 20, id="searches"),
        pytest.param(documents, 200, 20, id="documents"),
        pytest.param(documents, 191, 20, id="documents rounded up"),
    ],
)


@each_batch
async def test_a_batch_costs_its_units_in_all(http, backend, made: Made, parts: int, units: int) -> None:
    http.headers["X-API-Key"] = limited_key(backend, burst=100)
    path, body = made(parts)

    answer = await http.post(path, json=body)

    assert answer.status_code in {200, 202}, answer.text
    assert units - SLACK_SECONDS <= owed(answer) <= units
    assert owed(await http.post(path, json=made(1)[1])) <= units + 1


@each_batch
async def test_one_that_does_not_fit_is_refused_as_a_whole(
    http, backend, made: Made, parts: int, units: int
) -> None:
    http.headers["X-API-Key"] = limited_key(backend, burst=units + 10)
    path, body = made(parts)
    assert (await http.post(path, json=body)).status_code in {200, 202}
    queries, batches = len(backend.queries), len(backend.batches)

    refused = await http.post(path, json=body)

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    # Of the refused one the first unit is paid, as of any request: 21 are owed, and of 30 then 20 do not fit.
    assert owed(refused) <= units + 1
    assert 1 <= int(refused.headers["retry-after"]) <= units + 1 + units - (units + 10)
    assert (len(backend.queries), len(backend.batches)) == (queries, batches)
    # What does fit passes still.
    assert (await http.post(path, json=made(1)[1])).status_code in {200, 202}


@each_batch
async def test_one_beyond_the_burst_passes_after_a_rest_and_is_paid_for(
    http, backend, made: Made, parts: int, units: int
) -> None:
    http.headers["X-API-Key"] = limited_key(backend, burst=5)
    path, body = made(parts)

    answer = await http.post(path, json=body)

    assert answer.status_code in {200, 202}, answer.text
    assert units - SLACK_SECONDS <= owed(answer) <= units
    refused = await http.post(path, json=made(1)[1])
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= units - 4
