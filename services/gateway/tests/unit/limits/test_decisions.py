"""What callers are told of their limits."""

import math
from uuid import uuid4

import pytest

from quarry_common.contracts.audit import ActorKind
from quarry_common.contracts.tenancy import PLAN_QUOTAS, TENANT_SCOPES, Plan
from quarry_gateway.domain import Caller
from quarry_gateway.limits.buckets import Bucket, Endpoint, Owner, buckets_of
from quarry_gateway.limits.decisions import UNLIMITED, closed, headers, judge, refusal
from quarry_gateway.limits.gcra import SECOND, Limit

KEY = Bucket(Owner.KEY, uuid4(), Endpoint.SEARCH, Limit(20, 20))
TENANT = Bucket(Owner.TENANT, uuid4(), Endpoint.SEARCH, Limit(100, 200))
STANDARD = PLAN_QUOTAS[Plan.STANDARD]


def caller(**more: object) -> Caller:
    given = {"tenant": uuid4(), "tenant_slug": "acme", "quotas": STANDARD, "kind": ActorKind.KEY} | more
    return Caller(key_id=uuid4(), scopes=TENANT_SCOPES, **given)


def test_the_bucket_that_leaves_the_least_is_told_of() -> None:
    decision = judge([KEY, TENANT], 1, True, [SECOND // 20, SECOND])

    assert decision.bucket is KEY
    assert headers(decision) == {
        "RateLimit-Policy": '"key-search";q=20;w=1',
        "RateLimit": '"key-search";r=19;t=1',
    }


def test_the_bucket_that_refuses_for_longest_is_told_of() -> None:
    decision = judge([KEY, TENANT], 1, False, [SECOND, 4 * SECOND])

    assert decision.bucket is TENANT
    assert decision.retry_after_seconds == pytest.approx(2.01)
    assert headers(decision) == {
        "RateLimit-Policy": '"tenant-search";q=200;w=2',
        "RateLimit": '"tenant-search";r=0;t=4',
        "Retry-After": "3",
    }


def test_a_refusal_never_asks_to_come_back_in_no_time() -> None:
    assert headers(judge([KEY], 1, False, [SECOND + 1]))["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        (Limit(100, 100), "q=100;w=1"),
        (Limit(100, 50), "q=100;w=1"),
        (Limit(20, 50), "q=60;w=3"),
        (Limit(10, 0), "q=10;w=1"),
        (Limit(2**53, 2**53), "q=999999999999999;w=1"),
    ],
)
def test_the_policy_is_the_rate_over_whole_seconds(limit: Limit, policy: str) -> None:
    bucket = Bucket(Owner.KEY, uuid4(), Endpoint.READ, limit)

    assert headers(judge([bucket], 1, True, [0]))["RateLimit-Policy"] == f'"key-read";{policy}'


def test_who_has_no_limit_is_told_of_none() -> None:
    assert headers(UNLIMITED) == {}


def test_a_closed_bucket_names_no_time() -> None:
    bucket = Bucket(Owner.TENANT, uuid4(), Endpoint.WRITE, Limit(0, 10))
    decision = closed(bucket)

    assert headers(decision) == {
        "RateLimit-Policy": '"tenant-write";q=0;w=1',
        "RateLimit": '"tenant-write";r=0',
    }
    error = refusal(decision).data
    assert error.retry_after_seconds is None
    assert error.detail == "The tenant may send no requests to write: its limit is 0 per second."


def test_a_refusal_names_whose_limit_it_is_of_what_and_how_high() -> None:
    error = refusal(judge([KEY, TENANT], 1, False, [SECOND, 4 * SECOND])).data

    assert (error.code, error.status) == ("rate_limited", 429)
    assert error.detail == "The tenant may send 100 requests to search per second, 200 at once."
    assert error.retry_after_seconds == pytest.approx(2.01)
    assert "Retry-After" in error.advice


def test_a_request_is_charged_to_its_key_and_its_tenant_by_class() -> None:
    who = caller(requests_per_second=5)

    assert buckets_of(who, Endpoint.READ) == (
        Bucket(Owner.KEY, who.key_id, Endpoint.READ, Limit(5, 5)),
        Bucket(Owner.TENANT, who.tenant, Endpoint.READ, Limit(100, 200)),
    )
    names = {bucket.name for each in Endpoint for bucket in buckets_of(who, each)}
    assert len(names) == 2 * len(Endpoint)


def test_keys_that_replace_each_other_share_a_bucket() -> None:
    first = caller(requests_per_second=5)
    second = caller(requests_per_second=5, rate_bucket=first.key_id)

    assert buckets_of(first, Endpoint.READ)[0].name == buckets_of(second, Endpoint.READ)[0].name


def test_where_no_limit_is_set_there_is_no_bucket() -> None:
    assert buckets_of(caller(quotas=PLAN_QUOTAS[Plan.UNLIMITED]), Endpoint.READ) == ()
    assert buckets_of(caller(tenant=None, quotas=None), Endpoint.ADMIN) == ()


def test_an_operator_is_not_held_back_by_the_limit_of_the_tenant_it_acts_for() -> None:
    assert buckets_of(caller(kind=ActorKind.OPERATOR), Endpoint.READ) == ()


def test_an_infinite_time_is_not_shown() -> None:
    assert closed(KEY).reset_seconds == math.inf
