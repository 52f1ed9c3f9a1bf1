"""Keys that are bound to networks: a request comes from its peer, or from where a trusted proxy says."""

import httpx
import msgspec
import pytest

from quarry_common import keys

OWN, ELSEWHERE = "203.0.113.7", "198.51.100.9"
TRUSTED, STRANGERS = "127.0.0.0/8, 10.0.0.0/8", "192.0.2.0/24"


def bound_key(backend, *networks: str) -> str:
    key = backend.key()
    digest = keys.sha256(key)
    backend.principals[digest] = msgspec.structs.replace(backend.principals[digest], networks=networks)
    return key


@pytest.mark.parametrize(
    ("trusted", "headers", "status"),
    [
        pytest.param("", {}, 403, id="the peer is elsewhere"),
        pytest.param("", {"X-Forwarded-For": OWN}, 403, id="no proxy is trusted"),
        pytest.param("", {"Forwarded": f"for={OWN}"}, 403, id="no proxy is trusted, RFC 7239"),
        pytest.param(STRANGERS, {"X-Forwarded-For": OWN}, 403, id="another proxy is trusted"),
        pytest.param(TRUSTED, {"X-Forwarded-For": OWN}, 200, id="a trusted proxy says so"),
        pytest.param(TRUSTED, {"Forwarded": f"for={OWN}"}, 200, id="a trusted proxy says so, RFC 7239"),
        pytest.param(TRUSTED, {"X-Forwarded-For": f"{OWN}, 10.1.2.3"}, 200, id="by two trusted proxies"),
        pytest.param(TRUSTED, {"X-Forwarded-For": f"{OWN}, {ELSEWHERE}"}, 403, id="the caller says so"),
        pytest.param(TRUSTED, {"X-Forwarded-For": ELSEWHERE}, 403, id="a trusted proxy says otherwise"),
        pytest.param(TRUSTED, {"X-Forwarded-For": "unknown"}, 403, id="a proxy does not know"),
        pytest.param(
            TRUSTED, {"X-Forwarded-For": ELSEWHERE, "Forwarded": f"for={OWN}"}, 403, id="two headers disagree"
        ),
        pytest.param(TRUSTED, {"X-Real-IP": OWN}, 403, id="a header that nobody reads"),
    ],
)
async def test_who_passes_a_request_on_is_believed_only_when_trusted(
    serve, gateway_settings, backend, trusted: str, headers: dict[str, str], status: int
) -> None:
    key = bound_key(backend, "203.0.113.0/24")
    settings = gateway_settings.model_copy(update={"trusted_proxies": trusted})
    async with (
        serve(settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}) as client,
    ):
        answer = await client.get("/api/jobs", headers=headers)

    assert answer.status_code == status, answer.text


async def test_a_refusal_counts_as_a_denial_of_the_key(serve, gateway_settings, backend) -> None:
    key = bound_key(backend, "203.0.113.0/24")
    async with (
        serve(gateway_settings) as (url, _),
        httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}) as client,
    ):
        answer = await client.get("/api/jobs")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    # What was counted is told at the latest when the gateway ends.
    key_id = backend.principals[keys.sha256(key)].key_id
    told = [tally for tally in backend.tallies if tally.key_id == key_id]
    assert [(tally.requests, tally.denied) for tally in told] == [(1, 1)]
