"""The attack suite notices when a store no longer keeps tenants apart, and is content while each does."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.attack import test_foreign as foreign
from tests.attack import test_stores as stores
from tests.attack.conftest import Attacker, Victim, attacking, worth_stealing_from
from tests.attack.routes import GUARDED
from tests.isolation.conftest import without
from tests.platform import Platform


class Parties(NamedTuple):
    """Who is there, new for each test: what was cached or damaged before must hide nothing."""

    platform: Platform
    attacker: Attacker
    victim: Victim


@pytest.fixture
async def parties(platform: Platform) -> AsyncIterator[Parties]:
    """Yield an attacker and a victim."""
    async with attacking(platform) as attacker, worth_stealing_from(platform) as victim:
        yield Parties(platform, attacker, victim)


async def ids(parties: Parties) -> None:
    for route in GUARDED:
        if route.path:
            await foreign.test_an_id_of_another_tenant_is_as_one_that_does_not_exist(
                route, parties.attacker, parties.victim
            )


async def rows(parties: Parties) -> None:
    await stores.test_a_service_sees_no_row_of_another_tenant(*parties)


async def search(parties: Parties) -> None:
    await foreign.test_a_search_finds_nothing_of_another_tenant(parties.attacker, parties.victim)


async def cached(parties: Parties) -> None:
    await stores.test_an_answer_that_is_cached_for_a_tenant_is_given_to_no_other(
        parties.attacker, parties.victim
    )


async def value(parties: Parties) -> None:
    await stores.test_a_value_that_is_cached_for_a_tenant_is_found_for_no_other(*parties)


async def body(parties: Parties) -> None:
    await stores.test_a_body_of_another_tenant_is_not_taken_in(*parties)


async def content(parties: Parties) -> None:
    await stores.test_a_row_that_names_a_text_of_another_tenant_does_not_open_it(*parties, "content")


async def chunks(parties: Parties) -> None:
    await stores.test_a_row_that_names_a_text_of_another_tenant_does_not_open_it(*parties, "chunks")


Attack = Callable[[Parties], Awaitable[None]]
ATTACKS: tuple[Attack, ...] = (search, cached, value, body, content, chunks, rows, ids)
NOTICED: dict[str, tuple[Attack, ...]] = {
    "rows": (rows, ids),
    "vectors": (search,),
    "cache": (cached,),
    "keys": (value,),
    "blobs": (body, content, chunks),
}
"""By the store that lacks its filter, the attacks that succeed then."""
PROOFS: dict[Attack, Callable[[Parties], str]] = {
    rows: lambda _: "Left contains",
    ids: lambda _: "assert 200 == 404",
    search: lambda parties: parties.victim.ids["document_id"],
    cached: lambda parties: parties.victim.ids["document_id"],
    value: lambda parties: parties.victim.secret,
    body: lambda parties: parties.victim.secret,
    content: lambda parties: parties.victim.secret,
    chunks: lambda parties: parties.victim.secret,
}
"""What an attack that succeeds gets hold of; its complaint shows it."""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_no_attack_succeeds_while_nothing_is_missing(attack: Attack, parties: Parties) -> None:
    await attack(parties)


@pytest.mark.parametrize(
    ("store", "attack"),
    [(store, attack) for store, attacks in NOTICED.items() for attack in attacks],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_an_attack_notices_that_a_store_lacks_its_filter(
    store: str, attack: Attack, parties: Parties, switch: Path
) -> None:
    async with without(store, parties.platform, switch):
        with pytest.raises(AssertionError) as noticed:
            await attack(parties)
    # It is the attack's own assertion that failed, not one on the way there.
    assert PROOFS[attack](parties) in str(noticed.value)


@pytest.mark.parametrize("store", NOTICED)
async def test_a_filter_that_is_there_again_holds(store: str, parties: Parties, switch: Path) -> None:
    async with without(store, parties.platform, switch):
        pass

    for attack in NOTICED[store]:
        await attack(parties)
