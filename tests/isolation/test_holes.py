import time
import traceback
from functools import partial
from pathlib import Path
import pytest
from tests.attack import test_foreign, test_stores
from tests.attack.conftest import Attacker, Victim, attacking, worth_stealing_from
from tests.attack.routes import GUARDED
from tests.isolation.conftest import without
from tests.platform import Platform

@pytest.mark.parametrize("store", ["none", "rows", "vectors", "cache", "blobs", "none"])
async def test_x(store, platform, switch):
    found = {}
    async def attempt(name, attack, *args):
        t = time.monotonic()
        try:
            await attack(*args)
        except BaseException as e:
            found[name] = (repr(e)[:150])
    async with attacking(platform) as attacker:
        t=time.monotonic()
        async with worth_stealing_from(platform) as victim, without(store, platform, switch):
            print("victim", time.monotonic()-t)
            t=time.monotonic()
            await attempt("search", test_foreign.test_a_search_finds_nothing_of_another_tenant, attacker, victim)
            await attempt("cached", test_stores.test_an_answer_that_is_cached_for_a_tenant_is_given_to_no_other, attacker, victim)
            await attempt("body", test_stores.test_a_body_of_another_tenant_is_not_taken_in, platform, attacker, victim)
            for part in ("content", "chunks"):
                await attempt(part, test_stores.test_a_row_that_names_a_text_of_another_tenant_does_not_open_it, platform, attacker, victim, part)
            print("five", time.monotonic()-t)
            t=time.monotonic()
            await attempt("choice", test_foreign.test_a_choice_of_anothers_things_chooses_nothing, attacker.own, victim)
            await attempt("batch", test_foreign.test_a_batch_puts_nothing_into_another_tenant, attacker.own, victim)
            print("two", time.monotonic()-t)
            for route in GUARDED:
                if route.path:
                    await attempt(str(route), test_foreign.test_an_id_of_another_tenant_is_as_one_that_does_not_exist, route, attacker, victim)
            print("routes", time.monotonic()-t)
    print(store, *found.items(), sep="\n  ")
