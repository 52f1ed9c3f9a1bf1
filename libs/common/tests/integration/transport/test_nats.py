"""NATS over TLS: who is let in, who is not, and what is told then."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from libs.common.tests.integration.conftest import Until
from tests.tls import HOST, Authority, nats_program

from quarry_common.contracts import subjects
from quarry_common.contracts.streams import CONSUMERS, INDEXER_COMMANDS, STREAMS
from quarry_common.errors import QuarryError, UnavailableError
from quarry_common.ids import new_id
from quarry_common.messaging import broker
from quarry_common.messaging.consumer import Delivery, DurableConsumer
from quarry_common.messaging.provision import provision
from quarry_common.settings import NatsSettings, SettingsError, load
from quarry_local.ports import free_port
from quarry_local.servers import nats
from quarry_local.servers.launch import run_to_ready
from quarry_local.testing import running

from .conftest import PASSWORD, Run, Told
from .operator import Operator


@dataclass
class Server:
    """A nats-server that speaks TLS alone, and the authority that vouches for it."""

    port: int
    authority: Authority

    def settings(self, *, host: str = HOST, **more: str) -> NatsSettings:
        given = {
            "NATS_URL": f"tls://{host}:{self.port}",
            "NATS_CA_FILE": self.authority.ca_file,
            "NATS_USER": nats.USER,
            "NATS_PASSWORD": PASSWORD,
        }
        return load(NatsSettings, given | {name.upper(): value for name, value in more.items()})


@pytest.fixture(scope="module")
def server(nats_port: int, authority: Authority) -> Server:
    return Server(nats_port, authority)


@pytest.fixture(scope="module")
def mutual(folder: Path, authority: Authority, run: Run) -> Server:
    """A server that asks for a certificate, too."""
    program, port = nats_program(folder / "nats-mutual", authority, PASSWORD, mutual=True)
    run(program)
    return Server(port, authority)


async def refused(settings: NatsSettings) -> QuarryError:
    """Return what the connection is refused with, at once: nothing here is helped by time."""
    with pytest.raises(SettingsError) as caught:
        async with asyncio.timeout(5), broker.connect(settings, "test"):
            pass
    return caught.value


async def test_a_server_is_trusted_by_its_authority(server: Server) -> None:
    async with broker.connect(server.settings(), "test") as client:
        await broker.check(client)


async def test_a_login_may_stand_in_the_address(server: Server) -> None:
    settings = server.settings(
        nats_url=f"tls://{nats.USER}:{PASSWORD}@{HOST}:{server.port}", nats_user="", nats_password=""
    )

    async with broker.connect(settings, "test") as client:
        await broker.check(client)


async def test_an_unknown_authority_is_refused(server: Server, stranger: Authority, told: Told) -> None:
    why = told(await refused(server.settings(nats_ca_file=stranger.ca_file)))

    assert "The NATS server has a certificate that is not trusted" in why
    assert "NATS_CA_FILE" in why


async def test_the_system_does_not_trust_it_either(server: Server, told: Told) -> None:
    assert "is not trusted" in told(await refused(server.settings(nats_ca_file="")))


async def test_a_server_that_asks_for_tls_is_verified_whatever_the_address_says(
    server: Server, told: Told
) -> None:
    settings = server.settings(nats_ca_file="", nats_url=f"nats://{HOST}:{server.port}")

    assert "is not trusted" in told(await refused(settings))


async def test_the_certificate_of_another_host_is_refused(server: Server, told: Told) -> None:
    why = told(await refused(server.settings(host="localhost")))

    assert "a certificate for another host" in why
    assert "NATS_URL" in why


async def test_a_wrong_password_is_told_as_such(server: Server, told: Told) -> None:
    why = told(await refused(server.settings(nats_password=PASSWORD[:-1])))

    assert why == (
        "The NATS server refuses the login. Correct NATS_USER and NATS_PASSWORD, or the server's users."
    )


async def test_a_missing_login_is_told_as_such(server: Server, told: Told) -> None:
    why = told(await refused(server.settings(nats_user="", nats_password="")))

    assert "NATS_CREDS_FILE: none is given" in why


async def test_no_login_is_sent_to_a_server_without_tls(folder: Path, run: Run, told: Told) -> None:
    plain = nats.program(folder / "nats-plain", free_port(), PASSWORD)
    run(plain)

    why = told(
        await refused(load(NatsSettings, {"NATS_URL": f"tls://quarry:{PASSWORD}@{HOST}:{plain.port}"}))
    )

    assert why.startswith("The NATS server offers no TLS, so no login was sent.")


async def test_nobody_who_answers_is_told_as_such(server: Server, told: Told) -> None:
    settings = server.settings(nats_url=f"tls://{HOST}:{free_port()}")

    with pytest.raises(UnavailableError) as caught:
        async with broker.connect(settings, "test", seconds=0.5):
            pass
    assert told(caught.value).startswith("No NATS server answers at NATS_URL.")


async def test_one_server_that_does_not_hold_leaves_the_others(server: Server) -> None:
    both = f"tls://localhost:{server.port},tls://{HOST}:{server.port}"

    for _ in range(4):  # nats-py shuffles them
        async with asyncio.timeout(5), broker.connect(server.settings(nats_url=both), "test") as client:
            assert client.connected_url is not None
            assert client.connected_url.hostname == HOST


async def test_mutual_tls_lets_in_whose_certificate_the_server_trusts(mutual: Server) -> None:
    cert, key = mutual.authority.issue("indexer")

    async with broker.connect(mutual.settings(nats_cert_file=cert, nats_key_file=key), "test") as client:
        await broker.check(client)


async def test_mutual_tls_refuses_others(mutual: Server, stranger: Authority, told: Told) -> None:
    cert, key = stranger.issue("indexer")

    for settings in (mutual.settings(), mutual.settings(nats_cert_file=cert, nats_key_file=key)):
        why = told(await refused(settings))
        assert "asks for a certificate of ours that it trusts" in why
        assert "NATS_CERT_FILE" in why


async def test_durable_consumers_connect_in_the_same_way(mutual: Server) -> None:
    cert, key = mutual.authority.issue("indexer")
    settings = mutual.settings(nats_cert_file=cert, nats_key_file=key)
    received: asyncio.Queue[bytes] = asyncio.Queue()
    stopping = asyncio.Event()

    async def keep(delivery: Delivery) -> None:
        received.put_nowait(delivery.body)

    async with asyncio.timeout(20), broker.connect(settings, "test") as client:
        jetstream = client.jetstream()
        await provision(jetstream, STREAMS, CONSUMERS, 1)
        consumer = DurableConsumer(broker.broker(settings, "test"), INDEXER_COMMANDS, keep)
        running = asyncio.create_task(consumer.run(stopping))
        await jetstream.publish(subjects.command("indexer", new_id(), "index"), b"work")
        assert await received.get() == b"work"
        stopping.set()
        await running


async def test_a_consumer_is_refused_with_the_same_words(server: Server, told: Told) -> None:
    connection = broker.broker(server.settings(nats_password=PASSWORD[:-1]), "test")

    with pytest.raises(SettingsError) as caught:
        async with asyncio.timeout(5):
            await connection.connect()
    assert "The NATS server refuses the login" in told(caught.value)


async def test_it_reconnects_over_tls(folder: Path, authority: Authority, until: Until) -> None:
    program, port = nats_program(folder / "nats-mortal", authority, PASSWORD)
    log = folder / "mortal.log"
    first = run_to_ready(program, log, die_with_parent=True)
    async with broker.connect(Server(port, authority).settings(), "test") as client:

        async def answers() -> bool:
            try:
                await broker.check(client)
            except UnavailableError:
                return False
            return True

        first.kill()
        first.wait(timeout=10)
        assert not await answers()
        with running(program, log):
            await until(answers)


@dataclass
class Trust:
    """An operator, and a server that lets its users in."""

    operator: Operator
    server: Server

    def settings(self, folder: Path, credentials: str) -> NatsSettings:
        path = folder / "user.creds"
        path.write_text(credentials)
        return self.server.settings(nats_user="", nats_password="", nats_creds_file=str(path))


@pytest.fixture(scope="module")
def trust(folder: Path, authority: Authority, run: Run) -> Trust:
    operator = Operator()
    program, port = nats_program(folder / "nats-jwt", authority, "", login=operator.configuration())
    run(program)
    return Trust(operator, Server(port, authority))


async def test_a_user_may_log_in_by_a_credentials_file(trust: Trust, tmp_path: Path) -> None:
    async with broker.connect(trust.settings(tmp_path, trust.operator.credentials()), "test") as client:
        await broker.check(client)


async def test_another_operators_user_is_refused(trust: Trust, tmp_path: Path, told: Told) -> None:
    why = told(await refused(trust.settings(tmp_path, Operator().credentials())))

    assert why == "The NATS server refuses the login. Correct NATS_CREDS_FILE, or the server's users."


async def test_a_credentials_file_that_broke_since_the_start_is_told_as_such(
    trust: Trust, tmp_path: Path, told: Told
) -> None:
    settings = trust.settings(tmp_path, trust.operator.credentials())
    Path(settings.nats_creds_file).write_text("half a fi")

    assert told(await refused(settings)).startswith("NATS_CREDS_FILE: holds no user's JWT and seed")


async def test_a_token_may_be_the_login(folder: Path, authority: Authority, run: Run, told: Told) -> None:
    login = f'authorization {{ token: "{PASSWORD}" }}'
    program, port = nats_program(folder / "nats-token", authority, "", login=login)
    run(program)
    given = {"nats_user": "", "nats_password": ""}

    async with broker.connect(
        Server(port, authority).settings(**given, nats_token=PASSWORD), "test"
    ) as client:
        await broker.check(client)
    why = told(await refused(Server(port, authority).settings(**given, nats_token=PASSWORD[:-1])))
    assert "Correct NATS_TOKEN" in why
