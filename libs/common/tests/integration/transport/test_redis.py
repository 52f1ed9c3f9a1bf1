"""Redis over TLS: who is let in, who is not, and what is told then."""

import ssl
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from redis.exceptions import RedisError
from tests.tls import HOST, Authority, redis_program

from quarry_common.cache.connection import open_redis, trouble
from quarry_common.settings import RedisSettings, load
from quarry_local.ports import free_port

from .conftest import PASSWORD, Run


@dataclass
class Server:
    """A Redis that speaks TLS, and the authority that vouches for it."""

    port: int
    authority: Authority

    def settings(self, *, host: str = HOST, **more: str) -> RedisSettings:
        given = {
            "REDIS_URL": f"rediss://{host}:{self.port}/0",
            "REDIS_PASSWORD": PASSWORD,
            "REDIS_CA_FILE": self.authority.ca_file,
            "REDIS_CONNECT_TIMEOUT_SECONDS": "2",
        }
        return load(RedisSettings, given | {name.upper(): value for name, value in more.items()})


@pytest.fixture(scope="module")
def server(redis_port: int, authority: Authority) -> Server:
    return Server(redis_port, authority)


@pytest.fixture(scope="module")
def mutual(folder: Path, authority: Authority, run: Run) -> Server:
    """A server that asks for a certificate, too."""
    program, port = redis_program(folder / "redis-mutual", authority, PASSWORD, mutual=True)
    run(program)
    return Server(port, authority)


async def answers(settings: RedisSettings) -> bool:
    client = open_redis(settings, timeout_seconds=2)
    try:
        return bool(await client.ping())
    finally:
        await client.aclose()


async def refused(settings: RedisSettings) -> str:
    """Return what is told when a command fails."""
    with pytest.raises(RedisError) as caught:
        await answers(settings)
    assert PASSWORD not in f"{caught.value}{trouble(caught.value)}"
    return trouble(caught.value)


async def test_a_server_is_trusted_by_its_authority(server: Server) -> None:
    assert await answers(server.settings())


async def test_the_password_may_stand_in_the_address(server: Server) -> None:
    url = f"rediss://:{PASSWORD}@{HOST}:{server.port}/0"

    assert await answers(server.settings(redis_url=url, redis_password=""))


async def test_an_unknown_authority_is_refused(server: Server, stranger: Authority) -> None:
    why = await refused(server.settings(redis_ca_file=stranger.ca_file))

    assert why.startswith("Redis has a certificate that is not trusted")
    assert "REDIS_CA_FILE" in why


async def test_the_systems_authorities_do_not_count_beside_those_in_the_settings(
    server: Server, stranger: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", server.authority.ca_file)

    assert await answers(server.settings(redis_ca_file=""))
    assert "not trusted" in await refused(server.settings(redis_ca_file=stranger.ca_file))


async def test_the_certificate_of_another_host_is_refused(server: Server) -> None:
    why = await refused(server.settings(host="localhost"))

    assert "a certificate for another host" in why
    assert "REDIS_URL" in why


@pytest.mark.parametrize("password", ["", PASSWORD[:-1]])
async def test_a_wrong_password_is_told_as_such(server: Server, password: str) -> None:
    why = await refused(server.settings(redis_password=password))

    assert why == "Redis refuses the login. Correct the login in REDIS_URL, or REDIS_PASSWORD."


async def test_nobody_who_answers_is_told_as_such(server: Server) -> None:
    why = await refused(server.settings(redis_url=f"rediss://{HOST}:{free_port()}/0"))

    assert f"{HOST}" in why


async def test_mutual_tls_lets_in_whose_certificate_the_server_trusts(mutual: Server) -> None:
    cert, key = mutual.authority.issue("search")

    assert await answers(mutual.settings(redis_cert_file=cert, redis_key_file=key))
    await refused(mutual.settings())


async def test_a_client_reads_its_authorities_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_redis(server.settings(), timeout_seconds=2)

    def read_again(*_: object, **__: object) -> ssl.SSLContext:
        raise AssertionError("a connection made a context of its own")

    monkeypatch.setattr(ssl, "create_default_context", read_again)
    try:
        assert await client.ping()
    finally:
        await client.aclose()


@pytest.fixture
def sentinel(folder: Path, authority: Authority, mutual: Server, run: Run) -> int:
    """The port on which a Sentinel of the server `mutual` speaks TLS."""
    program, port = redis_program(folder / "sentinel", authority, PASSWORD, mutual=True)
    conf = folder / "sentinel" / "redis.conf"

    def prepare() -> None:
        program.prepare()
        kept = ("bind", "port", "dir", "requirepass", "tls-")
        lines = [line for line in conf.read_text().splitlines() if line.startswith(kept)]
        lines += [
            "tls-replication yes",
            f"sentinel monitor main {HOST} {mutual.port} 1",
            f"sentinel auth-pass main {PASSWORD}",
        ]
        conf.write_text("\n".join(lines) + "\n")

    run(replace(program, name="sentinel", argv=(*program.argv, "--sentinel"), prepare=prepare))
    return port


async def test_sentinels_and_their_master_are_asked_over_tls(
    mutual: Server, sentinel: int, stranger: Authority
) -> None:
    cert, key = mutual.authority.issue("search")
    given = {
        "redis_url": f"rediss+sentinel://{HOST}:{sentinel}/main/0?sentinel_password={PASSWORD}",
        "redis_cert_file": cert,
        "redis_key_file": key,
    }

    assert await answers(mutual.settings(**given))
    await refused(mutual.settings(**given, redis_ca_file=stranger.ca_file))
