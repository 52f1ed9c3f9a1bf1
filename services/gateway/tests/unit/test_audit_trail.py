"""What waits to be written down: while the service is away, when it refuses, and how much of it."""

import asyncio
from collections import deque
from typing import Any, cast

import msgspec
import pytest
from prometheus_client import REGISTRY

from quarry_common.contracts.audit import (
    OWNERS_OF,
    OWNERS_OF_KEYS,
    RECORD_ACTS,
    ActorKind,
    AuditAct,
    AuditOutcome,
    Owners,
    OwnersOf,
    RecordActs,
)
from quarry_common.contracts.rpc import Nothing, RpcMethod
from quarry_common.contracts.tenancy import PLATFORM_TENANT
from quarry_common.errors import UnavailableError, ValidationError
from quarry_common.ids import new_id
from quarry_common.messaging.rpc import RpcClient
from quarry_gateway import audit
from quarry_gateway.access import trespasses
from quarry_gateway.access.trespasses import Trespasses
from quarry_gateway.audit import AuditTrail
from quarry_gateway.domain import Caller

TENANT, OTHER = new_id(), new_id()
CALLER = Caller(key_id=new_id(), kind=ActorKind.KEY, scopes=frozenset(), tenant=TENANT, tenant_slug="acme")


class Log:
    """Stands for the services that keep the log and know whose ids are."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        """The targets of each request to write something down, refused ones too."""
        self.written: list[AuditAct] = []
        self.refused: set[str] = set()
        """Targets that it does not take."""
        self.away = False
        self.documents: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        self.asked: deque[tuple[str, int]] = deque()
        """Which owners were asked for, of how many ids."""

    async def call(self, method: RpcMethod[Any, Any], request: Any, *, timeout_seconds: float) -> Any:
        await asyncio.sleep(0)
        if isinstance(request, OwnersOf):
            self.asked.append((method.name, len(request.ids)))
        if self.away:
            raise UnavailableError("The service is not running.")
        if method is RECORD_ACTS:
            return self._record(request)
        owners = {OWNERS_OF.name: self.documents, OWNERS_OF_KEYS.name: self.keys}[method.name]
        return Owners({str(each): owners[str(each)] for each in request.ids if str(each) in owners})

    def _record(self, request: RecordActs) -> Nothing:
        targets = [act.target for act in request.acts]
        self.requests.append(targets)
        if self.refused & set(targets):
            raise ValidationError("One of them is not right.")
        self.written += request.acts
        return Nothing()

    @property
    def targets(self) -> list[str]:
        return [act.target for act in self.written]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def trail(log: Log) -> AuditTrail:
    return AuditTrail(cast(RpcClient, log))


@pytest.fixture
def looked(log: Log, trail: AuditTrail) -> Trespasses:
    return Trespasses(cast(RpcClient, log), trail)


def lost(name: str = "audit_acts_lost_total") -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_an_act_is_written_before_it_is_answered(trail: AuditTrail, log: Log) -> None:
    await trail.record(CALLER, "api_key.revoked", "key", before={"a": 1}, after={"a": 2})

    (act,) = log.written
    assert (act.tenant_id, act.action, act.target) == (TENANT, "api_key.revoked", "key")
    assert (act.actor, act.outcome) == (CALLER.actor, AuditOutcome.DONE)
    assert (act.before, act.after) == ({"a": 1}, {"a": 2})


async def test_acts_are_kept_while_the_service_is_away_and_written_once_it_is_back(
    trail: AuditTrail, log: Log
) -> None:
    log.away = True
    await trail.record(CALLER, "collection.deleted", "first")
    trail.denied(CALLER, "tenant.reached_for", "second")
    trail.noted(CALLER, "operator.acted", "third")
    for _ in range(3):
        await trail.flush()
    assert log.written == []

    log.away = False
    await trail.flush()
    await trail.flush()

    assert log.targets == ["first", "second", "third"]
    assert [act.outcome.value for act in log.written] == ["done", "denied", "done"]
    assert len({act.id for act in log.written}) == 3


async def test_an_act_that_waits_keeps_its_id_and_its_moment(trail: AuditTrail, log: Log) -> None:
    """So that one that was written although no answer came is known again."""
    sent: list[AuditAct] = []
    record = log._record

    def unanswered(request: RecordActs) -> Nothing:
        sent.extend(request.acts)
        if len(sent) == 1:
            raise UnavailableError("No answer came.")
        return record(request)

    log._record = unanswered  # type: ignore[method-assign]
    await trail.record(CALLER, "collection.deleted", "one")
    await trail.flush()

    first, again = sent
    assert first == again


async def test_the_same_denial_is_written_once_for_all_that_come_before_it_is(
    trail: AuditTrail, log: Log
) -> None:
    another = msgspec.structs.replace(CALLER, key_id=new_id())
    for _ in range(50):
        trail.denied(CALLER, "tenant.reached_for", "tenant other")
        trail.denied(CALLER, "tenant.reached_for", "tenant third")
        trail.denied(another, "tenant.reached_for", "tenant other")
    await trail.flush()
    assert log.targets == ["tenant other", "tenant third", "tenant other"]

    trail.denied(CALLER, "tenant.reached_for", "tenant other")
    await trail.flush()
    assert len(log.written) == 4


async def test_an_act_that_is_refused_keeps_no_other_from_being_written(trail: AuditTrail, log: Log) -> None:
    before = lost()
    log.refused = {"act 3"}
    for number in range(6):
        trail.noted(CALLER, "operator.acted", f"act {number}")
    await trail.flush()

    assert log.targets == ["act 0", "act 1", "act 2", "act 4", "act 5"]
    # All together first, then one by one, so that it is known which of them it is.
    assert log.requests == [[f"act {number}" for number in range(6)], *([f"act {n}"] for n in range(6))]
    assert lost() == before + 1
    await trail.flush()
    assert len(log.written) == 5


async def test_so_many_wait_and_no_more(trail: AuditTrail, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 10)
    before = lost()
    log.away = True
    for number in range(12):
        await trail.record(CALLER, "collection.deleted", f"act {number}")
    log.away = False
    await trail.flush()

    assert log.targets == [f"act {number}" for number in range(10)]
    assert lost() == before + 2


async def test_many_are_written_in_several_messages(trail: AuditTrail, log: Log) -> None:
    for number in range(audit.MAX_TOGETHER * 2 + 1):
        trail.noted(CALLER, "operator.acted", f"act {number}")
    await trail.flush()

    assert [len(targets) for targets in log.requests] == [audit.MAX_TOGETHER, audit.MAX_TOGETHER, 1]


async def test_an_operator_that_names_no_tenant_fills_no_log(trail: AuditTrail, log: Log) -> None:
    operator = msgspec.structs.replace(CALLER, kind=ActorKind.OPERATOR, tenant=None, tenant_slug=None)
    trail.noted(operator, "operator.acted", "GET /api/admin/tenants")
    trail.denied(operator, "tenant.reached_for", "x")
    await trail.flush()
    assert log.requests == []

    await trail.record(operator, "tenant.created", "acme")
    assert [act.tenant_id for act in log.written] == [PLATFORM_TENANT]


@pytest.mark.parametrize(
    ("parameter", "action"),
    [
        ("document_id", "document.reached_for"),
        ("job_id", "job.reached_for"),
        ("key_id", "api_key.reached_for"),
    ],
)
async def test_an_id_of_another_tenant_is_told_to_the_installations_log(
    looked: Trespasses, trail: AuditTrail, log: Log, parameter: str, action: str
) -> None:
    foreign = new_id()
    (log.keys if parameter == "key_id" else log.documents)[str(foreign)] = OTHER

    looked.not_found(CALLER, parameter, str(foreign))
    await looked.look()
    await trail.flush()

    (act,) = log.written
    assert (act.action, act.target, act.outcome) == (action, str(foreign), AuditOutcome.DENIED)
    # The caller reads his own log: there it would tell that there is such a thing.
    assert act.tenant_id == PLATFORM_TENANT
    assert act.actor == CALLER.actor


async def test_an_id_of_nobody_or_of_the_caller_is_no_attempt(
    looked: Trespasses, trail: AuditTrail, log: Log
) -> None:
    own, unknown = new_id(), new_id()
    log.documents[str(own)] = TENANT
    for each in (own, unknown):
        looked.not_found(CALLER, "document_id", str(each))
    looked.not_found(CALLER, "document_id", "no id at all")
    looked.not_found(CALLER, "name", str(unknown))
    looked.not_found(msgspec.structs.replace(CALLER, tenant=None), "document_id", str(unknown))
    await looked.look()
    await trail.flush()

    assert log.requests == []
    assert log.asked == deque([(OWNERS_OF.name, 2)])


async def test_ids_are_looked_up_together_and_those_of_keys_apart(looked: Trespasses, log: Log) -> None:
    for number in range(trespasses.TOGETHER + 5):
        looked.not_found(CALLER, "key_id" if number % 5 == 0 else "job_id", str(new_id()))
    await looked.look()

    assert all(count <= trespasses.TOGETHER for _, count in log.asked)
    assert sum(count for _, count in log.asked) == trespasses.TOGETHER + 5
    assert {name for name, _ in log.asked} == {OWNERS_OF.name, OWNERS_OF_KEYS.name}


async def test_so_many_unknown_ids_wait_and_no_more(
    looked: Trespasses, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trespasses, "MAX_WAITING", 10)
    before = lost("foreign_ids_unchecked_total")
    for _ in range(15):
        looked.not_found(CALLER, "document_id", str(new_id()))
    await looked.look()

    assert sum(count for _, count in log.asked) == 10
    assert lost("foreign_ids_unchecked_total") == before + 5


async def test_ids_that_nobody_could_look_up_are_counted_and_not_asked_for_again(
    looked: Trespasses, trail: AuditTrail, log: Log
) -> None:
    before = lost("foreign_ids_unchecked_total")
    log.away = True
    looked.not_found(CALLER, "document_id", str(new_id()))
    await looked.look()
    log.away = False
    await looked.look()
    await trail.flush()

    assert len(log.asked) == 1
    assert lost("foreign_ids_unchecked_total") == before + 1
